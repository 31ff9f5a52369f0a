"""``[update]``: where images come from, and how they are fetched."""

from oslo_config import cfg

from ovca.conf import types

GROUP = 'update'
OPTS: list[cfg.Opt] = [
    cfg.Opt(
        'uri',
        type=types.uri(path=True),
        mutable=True,
        help=(
            'The source of `ovca update` and `ovca download` when the command names none: an HTTP, HTTPS or file URI, '
            'or the absolute path of a file. One that ends in .json is the signed index of a channel, of which they '
            'take the newest image that may be installed over what runs; any other one is a bundle.'
        ),
    ),
    cfg.Opt(
        'uri_file',
        type=types.PATH,
        mutable=True,
        help='A file that holds the source, for one with a password; it is used instead of the option uri.',
    ),
    cfg.Opt(
        'http_proxy',
        type=types.uri('http', 'https'),
        mutable=True,
        help='The proxy for HTTP sources, as a URI. Empty means none.',
    ),
    cfg.Opt(
        'http_proxy_file',
        type=types.PATH,
        mutable=True,
        help='A file that holds the proxy, for one with a password; it is used instead of the option http_proxy.',
    ),
    cfg.Opt(
        'https_proxy',
        type=types.uri('http', 'https'),
        mutable=True,
        help='The proxy for HTTPS sources, as a URI. Empty means none.',
    ),
    cfg.Opt(
        'https_proxy_file',
        type=types.PATH,
        mutable=True,
        help='A file that holds the proxy, for one with a password; it is used instead of the option https_proxy.',
    ),
    cfg.Opt(
        'ftp_proxy',
        type=types.uri('http', 'https'),
        mutable=True,
        help='The proxy for FTP sources, as a URI. Empty means none.',
    ),
    cfg.Opt(
        'ftp_proxy_file',
        type=types.PATH,
        mutable=True,
        help='A file that holds the proxy, for one with a password; it is used instead of the option ftp_proxy.',
    ),
    cfg.ListOpt(
        'no_proxy',
        item_type=types.WORD_NEEDED,
        default=[],
        mutable=True,
        help='Hosts and domain suffixes that are reached without a proxy.',
    ),
    cfg.Opt(
        'ca_file',
        type=types.PATH,
        mutable=True,
        help="A file of CA certificates (PEM) that HTTPS sources are checked with, instead of the system's.",
    ),
    cfg.FloatOpt(
        'connect_timeout',
        default=10.0,
        min=0.1,
        max=600,
        mutable=True,
        help='Seconds that connecting to a source may take.',
    ),
    cfg.FloatOpt(
        'read_timeout',
        default=60.0,
        min=0.1,
        max=3600,
        mutable=True,
        help='Seconds without a byte after which a source counts as stalled.',
    ),
    cfg.IntOpt(
        'limit_rate',
        default=0,
        min=0,
        max=2**40,
        mutable=True,
        help='The most bytes a second that a download may use; 0 means no limit.',
    ),
]
