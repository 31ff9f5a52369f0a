"""``[power]``: power control of the nodes."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'power'
OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'driver',
        type=types.EXTENSION,
        default='redfish',
        help='The power driver.',
    ),
    cfg.Opt(
        'bmc',
        type=types.dict_of(types.WORD_NEEDED),
        default={},
        help='The BMC of each node, as name:URI pairs; for Redfish the URI of the system.',
    ),
    cfg.Opt(
        'user',
        type=types.LINE,
        mutable=True,
        help='The user at the BMCs.',
    ),
    cfg.Opt(
        'password_file',
        type=types.PATH,
        mutable=True,
        help='The file that holds the password for the BMCs, readable by root only.',
    ),
    cfg.BoolOpt(
        'verify',
        default=True,
        mutable=True,
        help='Whether the certificates of the BMCs are checked.',
    ),
    cfg.FloatOpt(
        'timeout',
        default=10.0,
        min=0.1,
        max=120,
        mutable=True,
        help='Seconds that a BMC may take to answer.',
    ),
    cfg.FloatOpt(
        'poll',
        default=0.5,
        min=0.01,
        max=60,
        mutable=True,
        help="Seconds between two looks at a machine's power state.",
    ),
]
