"""``[provision]``: how a machine is installed."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'provision'
OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'driver',
        type=types.EXTENSION,
        default='ipxe',
        help='The provision driver that writes boot scripts.',
    ),
    cfg.Opt(
        'boot_url',
        type=types.uri('http', 'https'),
        mutable=True,
        help='The URL at which machines reach the boot service. Empty means http://<virtual_ip>:<boot_port>.',
    ),
    cfg.Opt(
        'tls_url',
        type=types.uri('https'),
        mutable=True,
        help='The URL at which installers ask for grants. Empty means https://<virtual_ip>:<boot_tls_port>.',
    ),
    cfg.Opt(
        'mac',
        type=types.dict_of(types.MAC),
        default={},
        help='The network card of each node that it boots from, as name:address pairs.',
    ),
    cfg.Opt(
        'root',
        type=types.PATH_NEEDED,
        default='/',
        help="The root folder of this node's system.",
    ),
    cfg.ListOpt(
        'site_files',
        item_type=types.PATTERN,
        default=['etc/ovca.conf', 'etc/ovca/keys/*', 'etc/ovca/secrets/*', 'etc/ssh/ssh_host_*'],
        mutable=True,
        help='Files below the root, as patterns, that are saved before a wipe and put back after it.',
    ),
    cfg.Opt(
        'state_path',
        type=types.PATH_NEEDED,
        default='/var/lib/ovca',
        help="The folder of this node's own state.",
    ),
    cfg.Opt(
        'kernel_args',
        type=types.LINE_OR_EMPTY,
        default='',
        mutable=True,
        help="Further arguments for the installer's kernel.",
    ),
]
