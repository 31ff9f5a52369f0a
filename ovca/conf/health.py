"""``[health]``: how a node watches its own health."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'health'
OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        'interval',
        default=5.0,
        min=0.05,
        max=300,
        mutable=True,
        help='Seconds between two rounds of health checks; three times as many while both nodes have nothing to do.',
    ),
    cfg.FloatOpt(
        'timeout',
        default=10.0,
        min=0.1,
        max=300,
        mutable=True,
        help='Seconds that one health check may take.',
    ),
    cfg.FloatOpt(
        'bmc_interval',
        default=30.0,
        min=0,
        max=3600,
        mutable=True,
        help=(
            "Seconds for which a good answer of the peer's BMC counts for this node's health, as many a BMC is slow. "
            'One that gives none is asked again in each round. 0: asked in each round.'
        ),
    ),
    cfg.ListOpt(
        'checks',
        item_type=types.EXTENSION,
        default=[],
        help='Further health checks, by name; the core ones always run.',
    ),
]
