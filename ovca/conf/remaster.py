"""``[remaster]``: the times and limits of an update."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'remaster'
OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        'soak',
        default=120.0,
        min=0,
        max=86400,
        help=(
            'Seconds that a freshly installed node must be healthy: the first one before the hand-over, the second one '
            'before the update is done.'
        ),
    ),
    cfg.FloatOpt(
        'prove_soak',
        default=600.0,
        min=0,
        max=604800,
        help='Seconds that the new software must be healthy as master before the second node is wiped.',
    ),
    cfg.FloatOpt(
        'install_deadline',
        default=3600.0,
        min=1,
        max=604800,
        help='Seconds that one attempt to install a node may take.',
    ),
    cfg.FloatOpt(
        'verify_deadline',
        default=3600.0,
        min=1,
        max=604800,
        help='Seconds that an installed node may take until it has been healthy for the time of soak.',
    ),
    cfg.FloatOpt(
        'prove_deadline',
        default=1200.0,
        min=1,
        max=604800,
        help='Seconds that the new master may take to be proven before the update rolls back.',
    ),
    cfg.FloatOpt(
        'rollback_deadline',
        default=1200.0,
        min=1,
        max=604800,
        help='Seconds that the old node may take to get ready for a roll-back.',
    ),
    cfg.IntOpt(
        'attempts',
        default=2,
        min=1,
        max=10,
        help='How many times the installation of one node is tried.',
    ),
    cfg.IntOpt(
        'alarm_percent',
        default=50,
        min=1,
        max=100,
        help=(
            'How many percent of a deadline pass before an alarm tells that a step takes long; the time that a node '
            'has to be healthy for comes before them. Each percent that an installer gets on begins its deadline anew.'
        ),
    ),
    cfg.IntOpt(
        'power_orders',
        default=20,
        min=1,
        max=1000,
        help=(
            'How many power cycles one update may order; with none left, it waits for the node until the deadline and '
            'ends.'
        ),
    ),
    cfg.IntOpt(
        'hand_overs',
        default=6,
        min=2,
        max=1000,
        help=(
            'How many hand-overs one update may make when nodes change roles on their own; with none left, it waits '
            'until the deadline and ends. The way back to sound software is always open.'
        ),
    ),
    cfg.FloatOpt(
        'grant_ttl',
        default=900.0,
        min=5,
        max=86400,
        help='Seconds that a grant to wipe a node is valid.',
    ),
    cfg.FloatOpt(
        'order_interval',
        default=600.0,
        min=0.5,
        max=3600,
        help=(
            'Seconds that a node gets to start its installer, before it is switched off and on again: longer than the '
            'slowest server needs for its own tests and the network boot. Its question what to boot begins them anew.'
        ),
    ),
    cfg.FloatOpt(
        'ready_age',
        default=5.0,
        min=0.5,
        max=300,
        help="Seconds after which a node's report of being ready is too old to act on.",
    ),
    cfg.FloatOpt(
        'unhealthy_limit',
        default=300.0,
        min=1,
        max=86400,
        help='Seconds of ill health after which a node counts as failed.',
    ),
    cfg.ListOpt(
        'components',
        item_type=types.EXTENSION,
        default=[],
        help=(
            'The components that the acting master applies once an update is done, by name and in this order; a tree '
            'of an image that is not named here is published, and not applied.'
        ),
    ),
]
