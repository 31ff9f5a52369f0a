"""``[image]``: the images on the shared storage."""

from oslo_config import cfg

GROUP = 'image'
OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'shared_storage',
        default='/nfs/shared_storage',
        help='The folder that both nodes share; images are published below it.',
    ),
    cfg.StrOpt(
        'key_folder',
        default='/etc/ovca/keys',
        help='The folder of minisign public keys (files that end in .pub) that images may be signed with.',
    ),
    cfg.BoolOpt(
        'require_signature',
        default=True,
        help='Whether an image without a valid signature is refused.',
    ),
    cfg.IntOpt(
        'keep',
        default=3,
        min=2,
        help='How many images are kept on the shared storage.',
    ),
    cfg.IntOpt(
        'max_size',
        default=17179869184,
        min=1,
        help='The largest image, in bytes, that is accepted.',
    ),
    cfg.IntOpt(
        'space_reserve',
        default=1073741824,
        min=0,
        help='Bytes that must stay free on the shared storage.',
    ),
]
