"""``[image]``: the images on the shared storage."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'image'
OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'shared_storage',
        type=types.PATH_NEEDED,
        default='/nfs/shared_storage',
        help='The folder that both nodes share; images are published below it.',
    ),
    cfg.BoolOpt(
        'shared_storage_mounted',
        help=(
            'Whether the shared storage has to lie on another file system than / (default: true with a peer, unless '
            '[database] single_host says that both nodes run on one machine). If it does not, it is not mounted: the '
            'node is not healthy, and backups and site settings are not written to its own disk, where a wipe would '
            'take them.'
        ),
    ),
    cfg.Opt(
        'key_folder',
        type=types.PATH_NEEDED,
        default='/etc/ovca/keys',
        mutable=True,
        help='The folder of minisign public keys (files that end in .pub) that images may be signed with.',
    ),
    cfg.BoolOpt(
        'require_signature',
        default=True,
        mutable=True,
        help=(
            'Whether an image without a valid signature is refused. If not, an unsigned one is taken; a signature that '
            'is there has to be valid still, unless key_folder holds no key at all.'
        ),
    ),
    cfg.IntOpt(
        'keep',
        default=3,
        min=2,
        max=1000,
        help=(
            'How many images are kept on the shared storage. After a download and after an update the oldest beyond '
            'them are deleted, but never one that a node runs, that an update needs, or that is the one to go back to.'
        ),
    ),
    cfg.IntOpt(
        'max_size',
        default=2**34,
        min=1,
        max=2**50,
        mutable=True,
        help='The largest image, in bytes, that is accepted.',
    ),
    cfg.IntOpt(
        'space_reserve',
        default=2**30,
        min=0,
        max=2**50,
        mutable=True,
        help='The bytes that must stay free on the shared storage.',
    ),
    cfg.IntOpt(
        'max_files',
        default=1_000_000,
        min=100,
        max=10_000_000,
        mutable=True,
        help='How many files, folders and links an image may hold.',
    ),
    cfg.IntOpt(
        'max_ratio',
        default=100,
        min=2,
        max=1100,
        mutable=True,
        help='How many times as large as what was received an image may become when it is unpacked.',
    ),
    cfg.IntOpt(
        'max_depth',
        default=64,
        min=16,
        max=500,
        mutable=True,
        help='How many folders may lie within each other in an image.',
    ),
    cfg.IntOpt(
        'max_name',
        default=255,
        min=64,
        max=255,
        mutable=True,
        help='How many bytes the name of a file in an image may have.',
    ),
    cfg.BoolOpt(
        'unique_case',
        default=False,
        mutable=True,
        help='Whether an image is refused when two names in one of its folders differ only by case. Linux trees hold '
        'such names; set it when the shared storage cannot keep them apart.',
    ),
]
