"""The documentation as it is built: the pages that are made from the code."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ovca import conf, exceptions, pages, plugins
from tests.conftest import missing_peer

pytestmark = pytest.mark.xdist_group('documentation')  # it is built once
ROOT = Path(__file__).parents[3]
COMMANDS = sorted(name for name, found in plugins.chosen('ovca.cli').items() if found.core)
STATUSES = {status for status, _ in exceptions.exit_statuses()}


@pytest.fixture(scope='session')  # a module's would be made anew where tests of other modules come in between
def built() -> Path:
    """The folder of what Sphinx made, below ``man`` and ``html``; what ``make docs`` has made is not made anew."""
    for library in ('sphinx', 'furo', 'reno'):
        if importlib.util.find_spec(library) is None:
            missing_peer(f"{library} is not installed: pip install 'ovca[docs]'")
    if not (ROOT / '.git').exists():
        missing_peer('the release notes are made from the history, and this is no clone')
    folder = ROOT / 'doc/build'
    for builder in ('html', 'man'):  # html does not see what man has read anew; man writes all pages each time
        words = ['-q', '-W', '-b', builder, '-d', str(folder / 'doctrees'), 'doc/source', str(folder / builder)]
        result = subprocess.run(
            [sys.executable, '-m', 'sphinx', *words], cwd=ROOT, capture_output=True, text=True, timeout=100
        )
        assert result.returncode == 0, result.stderr
    return folder


def shown(path: Path) -> str:
    """The text of a page of the manual, without the marks for its dashes and fonts."""
    text = path.read_text()
    for mark, sign in (('\\-', '-'), ('\\(aq', "'"), ('\\fB', ''), ('\\fI', ''), ('\\fP', ''), ('\\e', '\\')):
        text = text.replace(mark, sign)
    return text


@pytest.mark.parametrize(
    ('page', 'sections'),
    [
        ('ovca.1', ('OPTIONS', 'COMMANDS', 'OUTPUT OPTIONS', 'EXIT STATUS', 'ENVIRONMENT', 'FILES', 'EXAMPLES')),
        ('ovcad.8', ('OPTIONS', 'SIGNALS', 'EXIT STATUS', 'ENVIRONMENT', 'FILES', 'EXAMPLES')),
        ('ovca.conf.5', ('OPTIONS', 'FILES', 'EXAMPLES')),
    ],
)
def test_a_page_of_the_manual_has_the_sections_that_readers_look_for(
    built: Path, page: str, sections: tuple[str, ...]
) -> None:
    text = (built / 'man' / page).read_text()

    for section in ('NAME', 'SYNOPSIS', 'DESCRIPTION', *sections, 'SEE ALSO'):
        assert f'\n.SH {section}\n' in text


def test_the_manual_explains_every_command(built: Path) -> None:
    text = shown(built / 'man/ovca.1')

    assert [name for name in COMMANDS if f'\n.SS {name}\n' not in text] == []


def test_the_manual_explains_every_exit_status(built: Path) -> None:
    _, _, text = shown(built / 'man/ovca.1').partition('.SH EXIT STATUS')

    assert [status for status in STATUSES if f'\n{status}\n' not in text] == []


def test_the_manual_explains_every_option_of_the_configuration(built: Path) -> None:
    text = shown(built / 'man/ovca.conf.5')

    names = [option.dest for _, options in conf.list_opts() for option in options]
    assert [name for name in names if f'\n{name}\n' not in text] == []
    assert [group for group, _ in conf.list_opts() if f'\n.SS [{group}]\n' not in text] == []


def test_the_manual_tells_the_kinds_of_values_in_words(built: Path) -> None:
    text = shown(built / 'man/ovca.conf.5')

    kinds = re.findall(r'\(([^()]*(?:\([^()]*\))?[^()]*); default: ', text)
    assert len(kinds) == sum(len(options) for _, options in conf.list_opts())
    assert [kind for kind in kinds if not re.match(r'(an?|one|yes|pairs) ', kind.strip())] == []


def test_an_error_has_its_page_at_its_id(built: Path) -> None:
    index = (built / 'html/errors.html').read_text()

    for id in pages.ids():
        page = (built / f'html/errors/{id}.html').read_text()
        assert f'[{id}]' in page
        assert f'href="errors/{id}.html' in index


def test_no_page_is_there_for_an_error_that_is_gone(built: Path) -> None:
    assert sorted(path.stem for path in (ROOT / 'doc/source/errors').glob('*.rst')) == pages.ids()


def test_the_reference_of_commands_has_an_anchor_for_each(built: Path) -> None:
    text = (built / 'html/commands.html').read_text()

    assert [name for name in COMMANDS if f'id="command-{name}"' not in text] == []


def test_the_reference_of_options_is_complete(built: Path) -> None:
    text = '\n'.join(path.read_text() for path in (built / 'html').rglob('*.html'))

    names = [f'{group}.{option.dest}' for group, options in conf.list_opts() for option in options]
    assert [name for name in names if f'id="{name}"' not in text] == []


def test_the_states_of_an_update_are_drawn_on_the_page_of_the_protocol(built: Path) -> None:
    page = (built / 'html/protocol.html').read_text()

    assert len(re.findall('<svg [^>]*role="img"', page)) == 1  # the theme's own icons are none
    assert 'data-from="PROVING" data-to="INSTALL_2" data-rules="proving-proven"' in page
