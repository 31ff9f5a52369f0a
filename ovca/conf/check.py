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
    cfg.FloatOpt(
        'timeout',
        default=60.0,
        min=0.1,
        max=3600,
        mutable=True,
        help=(
            'Seconds that one check may take before it has failed, as when the shared storage hangs. The one that '
            'reads the whole image gets two seconds more for each 10 MB of its ISO; for those that the image brings '
            'there is image_timeout.'
        ),
    ),
    cfg.FloatOpt(
        'clock_warning',
        default=2.0,
        min=0.1,
        max=3600,
        mutable=True,
        help="Seconds that a node's clock may differ from the database's before the check `clocks` warns.",
    ),
    cfg.FloatOpt(
        'clock_limit',
        default=60.0,
        min=0.1,
        max=86400,
        mutable=True,
        help="Seconds that a node's clock may differ from the database's before the check `clocks` fails.",
    ),
    cfg.ListOpt(
        'folders',
        item_type=types.PATH_NEEDED,
        default=['/var/log'],
        mutable=True,
        help=(
            'Folders whose file systems the check `space` looks at on both nodes, besides the shared storage, the '
            'root, the state and the database.'
        ),
    ),
    cfg.IntOpt(
        'space_reserve',
        default=256 * 1024**2,
        min=0,
        max=2**50,
        mutable=True,
        help=(
            "The bytes that must be free on each node's own file systems; for the shared storage there is [image] "
            'space_reserve.'
        ),
    ),
    cfg.ListOpt(
        'certificates',
        item_type=types.PATH_NEEDED,
        default=[],
        mutable=True,
        help=(
            'Files of certificates (PEM) whose days the check `certificates` counts, besides those of [update] ca_file '
            'and client_certificate.'
        ),
    ),
    cfg.IntOpt(
        'certificate_days',
        default=30,
        min=0,
        max=3650,
        mutable=True,
        help='How many days must be left to a certificate, or else the check `certificates` warns.',
    ),
    cfg.IntOpt(
        'backup_age',
        default=24 * 3600,
        min=0,
        max=366 * 24 * 3600,
        mutable=True,
        help='Seconds that the newest backup may be old for the check `backup`; 0 means that none is needed.',
    ),
    cfg.FloatOpt(
        'image_timeout',
        default=60.0,
        min=1,
        max=3600,
        mutable=True,
        help='Seconds that each check which an image brings may take.',
    ),
    cfg.Opt(
        'network_folder',
        type=types.PATH_NEEDED,
        default='/sys/class/net',
        help='The folder in which the kernel shows the network cards; a lab has its own.',
    ),
]
