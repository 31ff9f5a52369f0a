"""``[health]``: how a node watches its own health."""

from oslo_config import cfg

GROUP = 'health'
OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        'interval',
        default=5.0,
        min=0.05,
        help='Seconds between two rounds of health checks.',
    ),
    cfg.FloatOpt(
        'timeout',
        default=10.0,
        min=0.1,
        help='Seconds that one health check may take.',
    ),
    cfg.ListOpt(
        'checks',
        default=[],
        help='Further health checks, by name; the core ones always run.',
    ),
]
