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
        help=(
            'The command that the driver `command` runs for each message; it reads JSON on its standard input. It is '
            'split into words as a shell does it, but no shell runs it.'
        ),
    ),
    cfg.FloatOpt(
        'timeout',
        default=10.0,
        min=0.1,
        max=60.0,
        help='Seconds that a driver may take for one message; the driver `command` kills its command after them.',
    ),
]
