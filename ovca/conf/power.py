"""``[power]``: power control of the nodes."""

from oslo_config import cfg

GROUP = 'power'
OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'driver',
        default='redfish',
        help='The power driver.',
    ),
    cfg.DictOpt(
        'bmc',
        default={},
        help='The BMC of each node, as name:URI pairs; for Redfish the URI of the system.',
    ),
    cfg.StrOpt(
        'user',
        default=None,
        help='The user at the BMCs.',
    ),
    cfg.StrOpt(
        'password_file',
        default=None,
        help='The file that holds the password for the BMCs, readable by root only.',
    ),
    cfg.BoolOpt(
        'verify',
        default=True,
        help='Whether the certificates of the BMCs are checked.',
    ),
    cfg.FloatOpt(
        'timeout',
        default=10.0,
        min=0.1,
        help='Seconds that a BMC may take to answer.',
    ),
    cfg.FloatOpt(
        'poll',
        default=0.5,
        min=0.01,
        help="Seconds between two looks at a machine's power state.",
    ),
]
