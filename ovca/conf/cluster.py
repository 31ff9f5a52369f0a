"""``[cluster]``: the two management nodes, and who is master."""

import socket

from oslo_config import cfg

from ovca.conf import types


def _host_name() -> str:
    """The machine's name, where it can be a node's name; nothing may fail while options are declared."""
    try:
        return types.NODE(socket.gethostname()) or 'localhost'
    except ValueError:
        return 'localhost'


GROUP = 'cluster'
OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'node_name',
        type=types.NODE_NEEDED,
        default=_host_name(),
        sample_default='mn1',
        help="The name of this node. The default is the machine's name.",
    ),
    cfg.Opt(
        'peer',
        type=types.NODE,
        help='The name of the other management node. Empty means that there is none.',
    ),
    cfg.FloatOpt(
        'ttl',
        default=30.0,
        min=1,
        max=600,
        help='Seconds that the lease is valid after a renewal.',
    ),
    cfg.FloatOpt(
        'renew_interval',
        default=10.0,
        min=0.1,
        max=300,
        help='Seconds between two renewals of the lease.',
    ),
    cfg.FloatOpt(
        'self_demote',
        default=20.0,
        min=0.5,
        max=600,
        help=(
            'Seconds without a successful renewal after which a master stops serving. It must be '
            'above renew_interval and below ttl.'
        ),
    ),
    cfg.HostAddressOpt(
        'address',
        default='127.0.0.1',
        help="The address on which this node's status server listens. The other node reaches it there.",
    ),
    cfg.PortOpt(
        'port',
        default=6640,
        min=1,
        help="The port of this node's status server.",
    ),
    cfg.Opt(
        'peer_url',
        type=types.uri('http', 'https'),
        mutable=True,
        help=(
            "The URL of the other node's status server. There it tells of its machine, which the checks `peer-status`, "
            '`clocks`, `space` and `network-cards` need, it is woken, it saves its site settings before a wipe, and '
            '`ovca update-watch` asks it while the database does not answer. Without it, the other node is woken and '
            'asked to save at the address that it writes into the database, and the rest is not asked for.'
        ),
    ),
    cfg.Opt(
        'virtual_ip',
        type=types.ADDRESS,
        default='127.0.0.1',
        help=(
            'The IP address that belongs to the acting master alone; the boot service and a status server answer on '
            'it. It may have a prefix, as 192.0.2.10/24.'
        ),
    ),
    cfg.Opt(
        'virtual_ip_interface',
        type=types.INTERFACE,
        help='The interface that the virtual IP is added to. Empty means that the address is only bound.',
    ),
    cfg.PortOpt(
        'boot_port',
        default=6641,
        min=1,
        help='The port of the boot service (HTTP) on the virtual IP.',
    ),
    cfg.PortOpt(
        'boot_tls_port',
        default=6642,
        min=1,
        help='The port of the boot service for grants (HTTPS) on the virtual IP.',
    ),
    cfg.Opt(
        'reboot_command',
        type=types.COMMAND_NEEDED,
        default='systemctl reboot',
        mutable=True,
        help='The command that reboots this node.',
    ),
    cfg.FloatOpt(
        'fence_timeout',
        default=60.0,
        min=1,
        max=3600,
        mutable=True,
        help='Seconds within which a node must be seen to be off after it was powered off.',
    ),
    cfg.FloatOpt(
        'poll_interval',
        default=2.0,
        min=0.05,
        max=60,
        mutable=True,
        help=(
            'Seconds between two looks at the database when nothing wakes the service, while an update is open or a '
            'request waits. A pair that has nothing to do looks with each sign of life; see silent_after.'
        ),
    ),
    cfg.FloatOpt(
        'silent_after',
        default=15.0,
        min=0.5,
        max=600,
        help=(
            'Seconds after which a node that gives no sign of life counts as silent: it is shown so, and the master '
            'looks after its power. Never before [remaster] ready_age. Nodes that have nothing to do give a sign in '
            'two thirds of that.'
        ),
    ),
    cfg.ListOpt(
        'roles',
        item_type=types.EXTENSION,
        default=['virtual-ip', 'boot-service', 'status-service'],
        help='The role services that the acting master starts, in this order.',
    ),
    cfg.IntOpt(
        'power_on_attempts',
        default=5,
        min=1,
        max=100,
        mutable=True,
        help='How many times the master powers a silent peer on again before it leaves it off and raises an alarm.',
    ),
]
