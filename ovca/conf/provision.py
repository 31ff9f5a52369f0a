"""``[provision]``: how a machine is installed."""

from oslo_config import cfg

GROUP = 'provision'
OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'driver',
        default='ipxe',
        help='The provision driver that writes boot scripts.',
    ),
    cfg.StrOpt(
        'boot_url',
        default=None,
        help=('The URL at which machines reach the boot service. Empty means http://<virtual_ip>:<boot_port>.'),
    ),
    cfg.StrOpt(
        'tls_url',
        default=None,
        help=('The URL at which installers ask for grants. Empty means https://<virtual_ip>:<boot_tls_port>.'),
    ),
    cfg.DictOpt(
        'mac',
        default={},
        help='The network card of each node that it boots from, as name:address pairs.',
    ),
    cfg.StrOpt(
        'root',
        default='/',
        help="The root folder of this node's system.",
    ),
    cfg.ListOpt(
        'site_files',
        default=['etc/ovca.conf', 'etc/ovca/keys/*', 'etc/ssh/ssh_host_*'],
        help='Files below the root, as patterns, that are saved before a wipe and put back after it.',
    ),
    cfg.StrOpt(
        'state_path',
        default='/var/lib/ovca',
        help="The folder of this node's own state.",
    ),
    cfg.StrOpt(
        'kernel_args',
        default='',
        help="Further arguments for the installer's kernel.",
    ),
]
