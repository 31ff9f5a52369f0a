"""``[update]``: where images come from, and how they are fetched."""

from oslo_config import cfg

GROUP = 'update'
OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        'uri',
        default=None,
        help='The source of `ovca update` when the command names none: an HTTP, HTTPS or file URI.',
    ),
    cfg.StrOpt(
        'http_proxy',
        default=None,
        help='The proxy for HTTP sources, as a URI. Empty means none.',
    ),
    cfg.StrOpt(
        'https_proxy',
        default=None,
        help='The proxy for HTTPS sources, as a URI. Empty means none.',
    ),
    cfg.StrOpt(
        'ftp_proxy',
        default=None,
        help='The proxy for FTP sources, as a URI. Empty means none.',
    ),
    cfg.ListOpt(
        'no_proxy',
        default=[],
        help='Hosts and domain suffixes that are reached without a proxy.',
    ),
    cfg.StrOpt(
        'ca_file',
        default=None,
        help=("A file of CA certificates (PEM) that HTTPS sources are checked with, instead of the system's."),
    ),
    cfg.FloatOpt(
        'connect_timeout',
        default=10.0,
        min=0.1,
        help='Seconds that connecting to a source may take.',
    ),
    cfg.FloatOpt(
        'read_timeout',
        default=60.0,
        min=0.1,
        help='Seconds without a byte after which a source counts as stalled.',
    ),
    cfg.IntOpt(
        'limit_rate',
        default=0,
        min=0,
        help='The most bytes a second that a download may use; 0 means no limit.',
    ),
]
