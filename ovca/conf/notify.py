"""``[notify]``: who is told of alarms and ends of updates."""

from oslo_config import cfg

GROUP = 'notify'
OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        'drivers',
        default=[],
        help='The notification drivers to use, by name.',
    ),
]
