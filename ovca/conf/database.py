"""``[database]``: the database that both nodes share."""

from oslo_config import cfg

GROUP = 'database'
OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'connection',
        default='sqlite:////var/lib/ovca/ovca.sqlite',
        secret=True,
        help=(
            "The database's URL: sqlite:////path for one machine, "
            'postgresql://user:password@host/name for an appliance.'
        ),
    ),
    cfg.StrOpt(
        'connection_file',
        default=None,
        help=('A file that holds the URL, readable by root only; it is used instead of the option connection.'),
    ),
    cfg.BoolOpt(
        'single_host',
        default=False,
        help='Whether both nodes run on one machine (a lab), so that an SQLite file can be shared.',
    ),
    cfg.FloatOpt(
        'connect_timeout',
        default=5.0,
        min=0.1,
        help='Seconds that connecting to the database may take.',
    ),
    cfg.FloatOpt(
        'lock_timeout',
        default=5.0,
        min=0.1,
        help='Seconds that a transaction waits for a lock.',
    ),
    cfg.FloatOpt(
        'statement_timeout',
        default=10.0,
        min=0.1,
        help='Seconds that one statement may take.',
    ),
    cfg.FloatOpt(
        'idle_timeout',
        default=5.0,
        min=0.1,
        help='Seconds after which the server ends a transaction that does nothing.',
    ),
]
