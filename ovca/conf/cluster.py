"""``[cluster]``: the two management nodes, and who is master."""

import socket

from oslo_config import cfg

GROUP = 'cluster'
OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'node_name',
        default=socket.gethostname(),
        sample_default='<host name>',
        help='The name of this node.',
    ),
    cfg.StrOpt(
        'peer',
        default=None,
        help='The name of the other management node. Empty means that there is none.',
    ),
    cfg.FloatOpt(
        'ttl',
        default=30.0,
        min=1,
        help='Seconds that the lease is valid after a renewal.',
    ),
    cfg.FloatOpt(
        'renew_interval',
        default=10.0,
        min=0.1,
        help='Seconds between two renewals of the lease.',
    ),
    cfg.FloatOpt(
        'self_demote',
        default=20.0,
        min=0.5,
        help=(
            'Seconds without a successful renewal after which a master stops serving. It must be '
            'above renew_interval and below ttl.'
        ),
    ),
    cfg.StrOpt(
        'address',
        default='127.0.0.1',
        help="The address on which this node's status server listens.",
    ),
    cfg.PortOpt(
        'port',
        default=6640,
        help="The port of this node's status server.",
    ),
    cfg.StrOpt(
        'peer_url',
        default=None,
        help="The URL of the other node's status server, used to wake it.",
    ),
    cfg.StrOpt(
        'virtual_ip',
        default='127.0.0.1',
        help='The address that belongs to the acting master alone; the boot service answers on it.',
    ),
    cfg.StrOpt(
        'virtual_ip_interface',
        default=None,
        help=('The interface that the virtual IP is added to. Empty means that the address is only bound.'),
    ),
    cfg.PortOpt(
        'boot_port',
        default=6641,
        help='The port of the boot service (HTTP) on the virtual IP.',
    ),
    cfg.PortOpt(
        'boot_tls_port',
        default=6642,
        help='The port of the boot service for grants (HTTPS) on the virtual IP.',
    ),
    cfg.StrOpt(
        'reboot_command',
        default='systemctl reboot',
        help='The command that reboots this node.',
    ),
    cfg.FloatOpt(
        'fence_timeout',
        default=60.0,
        min=1,
        help='Seconds within which a node must be seen to be off after it was powered off.',
    ),
    cfg.FloatOpt(
        'poll_interval',
        default=2.0,
        min=0.05,
        help='Seconds between two looks at the database when nothing wakes the service.',
    ),
    cfg.ListOpt(
        'roles',
        default=['virtual-ip', 'boot-service'],
        help='The role services that the acting master starts, in this order.',
    ),
    cfg.IntOpt(
        'power_on_attempts',
        default=5,
        min=1,
        help=('How often the master powers a silent peer on again before it leaves it off and raises an alarm.'),
    ),
]
