"""``[check]``: the checks before an update."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'check'
OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        'enabled',
        item_type=types.EXTENSION,
        default=[],
        help='Further checks, by name; the core checks always run.',
    ),
]
