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
            'The source of `ovca update` and `ovca download` when the command names none: an HTTP, HTTPS, FTP, FTPS or '
            'file URI, or the absolute path of a file. One that ends in .json is the signed index of a channel, of '
            'which they take the newest image that may be installed over what runs; any other one is a bundle.'
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
        help=(
            'Hosts that are reached without a proxy: names (with all below them), suffixes as .example.com (only what '
            'is below), addresses, networks as 10.0.0.0/8 or fd00::/8, or * for all. A name or address may end in '
            ':port.'
        ),
    ),
    cfg.Opt(
        'ca_file',
        type=types.PATH,
        mutable=True,
        help=(
            'A file of CA certificates (PEM) that HTTPS and FTPS sources and HTTPS proxies are checked with, instead '
            "of the system's."
        ),
    ),
    cfg.Opt(
        'client_certificate',
        type=types.PATH,
        mutable=True,
        help='A file with the certificate (PEM) that this node shows to sources that ask for one.',
    ),
    cfg.Opt(
        'client_key',
        type=types.PATH,
        mutable=True,
        help=(
            'A file with the key (PEM, without pass phrase) of client_certificate, unless it is in the same file. Only '
            'its owner may read it.'
        ),
    ),
    cfg.Opt(
        'credentials_file',
        type=types.PATH,
        mutable=True,
        help=(
            'A file of lines "machine <host> login <user> password <password>", as .netrc has them, for sources that '
            'want a login. Only its owner may read it.'
        ),
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
    cfg.IntOpt(
        'low_speed_limit',
        default=1024,
        min=0,
        max=2**40,
        mutable=True,
        help=(
            'The bytes a second that a source must give on average over low_speed_time, or else it counts as stalled; '
            '0 means any.'
        ),
    ),
    cfg.FloatOpt(
        'low_speed_time',
        default=60.0,
        min=0.1,
        max=3600,
        mutable=True,
        help='Seconds over which low_speed_limit is measured.',
    ),
    cfg.IntOpt(
        'attempts',
        default=8,
        min=1,
        max=1000,
        mutable=True,
        help=(
            'How many times in a row a source is tried without a byte coming; the waits between are 1, 2, 4 seconds '
            'and so on, up to 30. One that has never answered is tried 4 times at most.'
        ),
    ),
    cfg.IntOpt(
        'connections',
        default=4,
        min=1,
        max=16,
        mutable=True,
        help=(
            'How many connections to an HTTP or HTTPS source there may be at once. More than one are tried only while '
            'one is the limit, and kept only if they help; with a limit for the rate there is one.'
        ),
    ),
    cfg.BoolOpt(
        'ftp_passive',
        default=True,
        mutable=True,
        help='Whether FTP sources are read in passive mode, where this node opens the connection for the data.',
    ),
    cfg.Opt(
        'ftp_tls',
        type=types.one_of('off', 'require'),
        default='off',
        mutable=True,
        help='Where FTP is spoken over TLS (explicit FTPS): off means for ftps URIs only, require for ftp URIs too.',
    ),
]
