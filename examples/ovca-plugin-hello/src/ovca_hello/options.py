"""``[hello]``: the options of this plugin in ``/etc/ovca.conf``."""

from oslo_config import cfg

from ovca_hello.greetings import GREETINGS

OPTIONS = [
    cfg.StrOpt(
        'language',
        default='en',
        choices=sorted(GREETINGS),
        help='The language in which the nodes are greeted.',
    ),
    cfg.StrOpt(
        'banner',
        default='hello-banner',
        help='The file that greets on the acting master; a path below [provision] state_path, or an absolute one.',
    ),
]
