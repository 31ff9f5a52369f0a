"""What the manual for administrators says of the configuration, held against the code."""

from __future__ import annotations

import re
from pathlib import Path

from ovca import conf

PAGE = Path(__file__).parents[3] / 'doc/source/admin/configure.rst'


def section(title: str) -> str:
    """The text of one section of the page."""
    found = re.search(rf'^{title}\n-+\n(.*?)(?=^[^\n]*\n-{{3,}}\n)', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_the_manual_names_what_counts_at_once() -> None:
    lines = re.findall(r'^- ``\[(\w+)\]``: (.*(?:\n  .*)*)', section('Reload'), re.MULTILINE)
    told = {group: re.findall(r'``(\w+)``', names) for group, names in lines}

    mutable = {group: [o.dest for o in options if o.mutable] for group, options in conf.list_opts()}
    assert told == {group: names for group, names in mutable.items() if names}


def test_the_manual_names_every_option_that_a_secret_file_can_hold() -> None:
    told = set(re.findall(r'``(?:\[\w+\] )?(\w+_file)``', section('Secrets')))

    options = {o.dest for _, options in conf.list_opts() for o in options if o.dest.endswith('_file')}
    assert told == options - {'ca_file'}
