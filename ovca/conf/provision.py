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
        'boot_address',
        type=types.dict_of(types.HOST),
        default={},
        help='The address that each node has when it boots and installs, as name:address pairs. A node that is named '
        'here gets its order and its site settings at this address only, so that no other machine can ask in its '
        'place. Give it that address by a fixed lease.',
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
        default=[],
        mutable=True,
        help='Further files below the root, as patterns, that are saved before a wipe and put back after it. The core '
        'site items have the configuration, SSH host keys, certificates and the network already.',
    ),
    cfg.ListOpt(
        'site_items',
        item_type=types.EXTENSION,
        default=[],
        help='Further site items, by name; those of the core are always saved.',
    ),
    cfg.ListOpt(
        'site_watch',
        item_type=types.PATTERN,
        default=['etc', 'root', 'usr/local'],
        help='Folders below the root in which every file that differs from the image, and that no site item carries '
        'over, is listed as lost in a wipe.',
    ),
    cfg.ListOpt(
        'site_ignore',
        item_type=types.PATTERN,
        default=[
            'etc/machine-id',
            'etc/.updated',
            'etc/adjtime',
            'etc/ld.so.cache',
            'etc/mtab',
            'etc/ssl/certs/*',
            'root/.bash_history',
            'root/.cache/*',
            'root/.lesshst',
            'root/.python_history',
        ],
        mutable=True,
        help='Files below the root, as patterns, that are not listed as lost: the system makes them again, or nobody '
        'misses them. A star stands for any part of a path.',
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
    cfg.IntOpt(
        'connections',
        default=200,
        min=16,
        max=10000,
        help='How many connections each server of this node keeps at a time: those of the boot service, and the status '
        'server. Beyond them, the one that has waited longest for its client is ended for a new one. Each takes a file '
        'descriptor of ovca.service.',
    ),
    cfg.IntOpt(
        'connections_per_address',
        default=32,
        min=4,
        max=10000,
        help='How many of these connections one address may have at a time. It has to be larger where many machines '
        'come by one address.',
    ),
    cfg.FloatOpt(
        'request_timeout',
        default=20.0,
        min=1,
        max=600,
        help='Seconds within which a request has to arrive, from the connection on, with its headers and its body.',
    ),
    cfg.FloatOpt(
        'stall_timeout',
        default=60.0,
        min=1,
        max=3600,
        help='Seconds after which a connection is ended whose client takes nothing of an answer, as of a download.',
    ),
]
