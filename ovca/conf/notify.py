"""``[notify]``: who is told of alarms and ends of updates."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'notify'
OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        'drivers',
        item_type=types.EXTENSION,
        default=[],
        help='The notification drivers to use, by name; an empty list means that events are only logged.',
    ),
    cfg.Opt(
        'command',
        type=types.COMMAND,
        help=(
            'The command that the driver `command` runs for each message; it reads JSON on its standard input. It is '
            'split into words as a shell does it, but no shell runs it.'
        ),
    ),
    cfg.FloatOpt(
        'timeout',
        default=10.0,
        min=0.1,
        max=60,
        mutable=True,
        help='Seconds that a driver may take for one message; the driver `command` kills its command after them.',
    ),
]
