"""``[database]``: the database that both nodes share."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'database'
OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'connection',
        type=types.DATABASE,
        default='sqlite:////var/lib/ovca/ovca.sqlite',
        secret=True,
        help=(
            "The database's URL: sqlite:////path for one machine, postgresql://user:password@host/name for an "
            'appliance.'
        ),
    ),
    cfg.Opt(
        'connection_file',
        type=types.PATH,
        help='A file that holds the URL, readable by root only; it is used instead of the option connection.',
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
        max=60,
        help='Seconds that connecting to PostgreSQL may take; whole ones count, and two at least.',
    ),
    cfg.FloatOpt(
        'lock_timeout',
        default=5.0,
        min=0.1,
        max=60,
        help='Seconds that a transaction waits for a lock. With idle_timeout it must be below the ttl of the lease.',
    ),
    cfg.FloatOpt(
        'statement_timeout',
        default=10.0,
        min=0.1,
        max=300,
        help='Seconds that one statement may take on PostgreSQL. It must be below the ttl of the lease.',
    ),
    cfg.FloatOpt(
        'idle_timeout',
        default=5.0,
        min=0.1,
        max=60,
        help='Seconds after which PostgreSQL ends a transaction that does nothing.',
    ),
]
