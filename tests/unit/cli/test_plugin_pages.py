"""`ovca help <id>` finds the pages that plugins bring, without importing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca import pages, testing
from tests.unit.conftest import Install

TEXT = 'The file of the rack is missing\n===============================\n'


@pytest.fixture
def rack(install: Install, tmp_path: Path) -> Path:
    """A package whose import fails, with a page; the folder of the pages."""
    entries = {'ovca.pages': {'rack': 'ovca_rack.inner'}, 'ovca.cli': {'rack-list': 'ovca_rack:List'}}
    install('ovca-plugin-rack', entries)
    folder = tmp_path / 'site/ovca_rack/inner/pages'
    folder.mkdir(parents=True)
    for init in (folder.parent / '__init__.py', folder.parent.parent / '__init__.py'):
        init.write_text('raise RuntimeError("imported")')
    (folder / 'rack-file-missing.rst').write_text(TEXT)
    return folder


@pytest.mark.usefixtures('rack')
def test_the_page_of_a_plugin_is_shown_by_its_id() -> None:
    result = testing.run(['help', '[rack-file-missing]'])

    assert (result.code, result.out, result.err) == (0, TEXT, '')


def test_only_ids_that_begin_with_the_plugins_word_are_its_own(rack: Path) -> None:
    (rack / 'no-terminal.rst').write_text('mine')
    (rack / 'racket-lost.rst').write_text('mine')

    assert 'mine' not in (pages.page('no-terminal') or '')
    assert pages.page('racket-lost') is None
    assert pages.brought() == ['rack-file-missing']


def test_a_page_of_the_core_cannot_be_replaced(install: Install, tmp_path: Path) -> None:
    install('ovca-plugin-no', {'ovca.pages': {'no': 'ovca_no'}})
    folder = tmp_path / 'site/ovca_no/pages'
    folder.mkdir(parents=True)
    (folder / 'no-terminal.rst').write_text('mine')

    assert 'mine' not in (pages.page('no-terminal') or '')


@pytest.mark.usefixtures('rack')
@pytest.mark.parametrize(
    ('topic', 'said'),
    [
        (
            'rack-file-mising',
            "'rack-file-mising' may be an error of package ovca-plugin-rack 1.0, which has no such page; "
            'did you mean rack-file-missing?',
        ),
        (
            'rack-on-fire',
            "'rack-on-fire' may be an error of package ovca-plugin-rack 1.0, which has no such page; ask its maker",
        ),
        (
            'shelf-on-fire',
            "'shelf-on-fire' is neither a command nor the id of an error of ovca; it may be one of a plugin, which "
            'brings no page for it or is not installed here: see `ovca plugin-list`',
        ),
    ],
)
def test_an_id_that_may_be_a_plugins_is_said_to_be(topic: str, said: str) -> None:
    result = testing.run(['help', topic])

    assert (result.code, result.out, result.err) == (2, '', f'ovca: {said} [no-command]\n')


def test_the_package_is_known_by_its_other_extensions_too(install: Install) -> None:
    install('ovca-plugin-rack', {'ovca.cli': {'rack-list': 'ovca_rack:List'}})

    assert 'package ovca-plugin-rack 1.0' in testing.run(['help', 'rack-file-missing']).err


def test_a_folder_that_is_not_there_hides_no_other_page(install: Install) -> None:
    install('ovca-plugin-rack', {'ovca.pages': {'rack': 'no_such_package'}})

    assert testing.run(['help', 'no-terminal']).code == 0
    assert testing.run(['help', 'rack-on-fire']).code == 2
