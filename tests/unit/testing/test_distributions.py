"""Packages for tests, and for the nodes of a lab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ovca.testing.distributions import packed

Install = Callable[..., None]


def test_an_installed_package_is_packed_with_its_modules_and_entry_points(ovca_install: Install) -> None:
    ovca_install('vendor', {'ovca.power': {'pdu': 'vendormod:Pdu'}, 'ovca.cli': {'pdu-list': 'othermod:List'}},
                 vendormod='class Pdu: pass\n', othermod='class List: pass\n')  # fmt: skip

    plugin = packed('vendor')

    assert (plugin.name, plugin.version) == ('vendor', '1.0')
    assert dict(plugin.modules) == {'vendormod.py': 'class Pdu: pass\n', 'othermod.py': 'class List: pass\n'}
    assert plugin.entry_points == {'ovca.power': {'pdu': 'vendormod:Pdu'}, 'ovca.cli': {'pdu-list': 'othermod:List'}}


def test_a_package_with_folders_is_packed_with_all_of_its_modules() -> None:
    modules = packed('alembic').modules  # a package that ovca needs, with folders below its own

    assert {'alembic/__init__.py', 'alembic/config.py', 'alembic/ddl/sqlite.py'} <= set(modules)


def test_the_pages_of_a_package_are_packed_too(ovca_install: Install, tmp_path: Path) -> None:
    ovca_install('vendor', {'ovca.pages': {'vendor': 'vendorpages'}})
    folder = tmp_path / 'site/vendorpages/pages'
    folder.mkdir(parents=True)
    (folder.parent / '__init__.py').write_text('')
    (folder / 'vendor-lost.rst').write_text('Lost\n====\n')

    assert dict(packed('vendor').modules) == {
        'vendorpages/__init__.py': '',
        'vendorpages/pages/vendor-lost.rst': 'Lost\n====\n',
    }


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(LookupError, match='no-such-vendor is not installed here'):
        packed('no-such-vendor')


def test_a_package_without_entry_points_is_no_plugin(ovca_install: Install) -> None:
    ovca_install('vendor', {})

    with pytest.raises(LookupError, match='brings no entry points'):
        packed('vendor')
