"""``[check]``: the checks before an update."""

from oslo_config import cfg

GROUP = 'check'
OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        'enabled',
        default=[],
        help='Further checks, by name; the core checks always run.',
    ),
]
