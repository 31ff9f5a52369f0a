"""Configuration of the documentation; what it takes from the code is made by ``_ext/ovcadoc``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from ovca import __version__

sys.path.insert(0, str(Path(__file__).parent / '_ext'))

logging.getLogger('reno').setLevel(logging.WARNING)  # it tells of each note that it reads

project = 'ovca'
author = 'the ovca developers'
copyright = author
version = release = __version__
extensions = ['ovcadoc', 'oslo_config.sphinxext', 'reno.sphinxext', 'sphinx.ext.autodoc']
autodoc_typehints = 'none'
autodoc_preserve_defaults = True
autodoc_member_order = 'bysource'
html_theme = 'furo'
html_title = f'ovca {release}'
highlight_language = 'none'
smartquotes = False  # `--yes` is typed with two dashes
nitpicky = True  # an error or a command that is named has a page
nitpick_ignore = [  # what docstrings of the interface for plugins mention, and is no part of it
    ('py:attr', 'context'),
    ('py:class', 'argparse.ArgumentParser'),
    ('py:class', 'ovca.lab.images.Recipe'),
    ('py:data', 'CHUNK'),
    ('py:exc', 'PowerError'),
    ('py:mod', 'ovca.pages'),
]
exclude_patterns = ['_ext', 'generated']
man_show_urls = True
man_pages = [
    ('man/ovca', 'ovca', 'update all software of an appliance that two management nodes run', '', 1),
    ('man/ovcad', 'ovcad', 'the service of ovca on a management node', '', 8),
    ('man/ovca.conf', 'ovca.conf', 'the configuration of ovca and ovcad', '', 5),
]
