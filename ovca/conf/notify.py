"""``[notify]``: who is told of alarms and ends of updates."""

from oslo_config import cfg

GROUP = 'notify'
OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        'drivers',
        default=[],
        help='The notification drivers to use, by name; an empty list means that events are only logged.',
    ),
    cfg.StrOpt(
        'command',
        default=None,
        help='The command that the driver `command` runs for each message; it reads JSON on its standard input.',
    ),
]
