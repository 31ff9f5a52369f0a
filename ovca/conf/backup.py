"""``[backup]``: what an appliance knows, saved before each update and by hand."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'backup'
OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'folder',
        type=types.PATH,
        help=(
            'The folder of the backups, on storage that outlives both nodes (default: backup, below the shared '
            'storage). One on the file system of / is refused where [image] shared_storage_mounted holds: a wipe of '
            'the node would take it. They hold secrets: only root can read it.'
        ),
    ),
    cfg.IntOpt(
        'keep',
        default=10,
        min=1,
        max=1000,
        mutable=True,
        help=(
            'How many backups are kept. After each new one the oldest beyond them are deleted, but never the one that '
            'the newest update has made.'
        ),
    ),
    cfg.BoolOpt(
        'required',
        default=True,
        mutable=True,
        help='Whether an update is refused when the backup before its first step cannot be made.',
    ),
    cfg.ListOpt(
        'sources',
        item_type=types.EXTENSION,
        default=[],
        help='What else is put into a backup, by the names of extensions; vendors bring them.',
    ),
]
