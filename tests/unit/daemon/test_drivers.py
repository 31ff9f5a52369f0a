"""A driver that the configuration names and that is broken stops ovcad, before it touches anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ovca
from ovca import conf, plugins, testing
from ovca.daemon import drivers

NAMED = {
    'ovca.power': '[power]\ndriver = odd\n',
    'ovca.provision': '[provision]\ndriver = odd\n',
    'ovca.role': '[cluster]\nroles = virtual-ip,odd\n',
    'ovca.health': '[health]\nchecks = odd\n',
    'ovca.check': '[check]\nenabled = odd\n',
    'ovca.notify': '[notify]\ndrivers = log,odd\n',
    'ovca.site': '[provision]\nsite_items = odd\n',
    'ovca.component': '[remaster]\ncomponents = odd\n',
    'ovca.backup': '[backup]\nsources = odd\n',
}
Start = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start ovcad with this configuration, and with what is installed in the folder ``site``; wait for its end."""
    database = tmp_path / 'ovca.sqlite'

    def run(text: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / 'ovca.conf').write_text(f'[database]\nconnection = sqlite:///{database}\n{text}')
        done = subprocess.run(
            [sys.executable, '-m', 'ovca.daemon', '--config-file', str(tmp_path / 'ovca.conf')],
            env={**os.environ, 'PYTHONPATH': f'{tmp_path / "site"}:{Path(ovca.__file__).parents[1]}'},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not database.exists(), 'the database was touched'
        return done

    return run


@pytest.mark.parametrize('group', NAMED)
def test_a_broken_driver_of_any_kind_stops_ovcad_with_its_name_and_cause(
    start: Start, tmp_path: Path, group: str
) -> None:
    (tmp_path / 'site').mkdir()
    testing.write_distribution(
        tmp_path / 'site', 'vendor', {group: {'odd': 'vendordriver:Odd'}}, vendordriver='import nowhere\n'
    )

    done = start(NAMED[group])

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert re.search(
        rf' CRITICAL .* {group}: odd of package vendor 1\.0 cannot be loaded: ModuleNotFoundError: No module named '
        r"'nowhere'; mend or remove the package",
        line,
    )


def test_a_driver_that_does_not_write_all_of_its_interface_stops_ovcad(start: Start, tmp_path: Path) -> None:
    (tmp_path / 'site').mkdir()
    source = 'from ovca.notify import Notifier\nclass Odd(Notifier):\n    pass\n'
    testing.write_distribution(
        tmp_path / 'site', 'vendor', {'ovca.notify': {'odd': 'vendordriver:Odd'}}, vendordriver=source
    )

    done = start(NAMED['ovca.notify'])

    assert done.returncode == 3
    assert "ovca.notify: odd of package vendor 1.0 cannot be used: TypeError: Can't instantiate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_group_of_drivers_is_loaded_at_the_start(config_file: Path) -> None:
    groups = [group for group, _, _ in drivers.named(conf.load(str(config_file)))]

    # A source's driver is chosen by an operator's URI.
    assert sorted(groups) == sorted(set(plugins.BASES) - {'ovca.fetch'})
    assert sorted(groups) == sorted(NAMED)


def test_what_is_installed_and_not_named_is_not_imported(install: Callable[..., None], config_file: Path) -> None:
    entries = {group: {'odd': 'vendordriver:Odd'} for group in NAMED}
    install('vendor', entries, vendordriver='raise RuntimeError("imported")')

    drivers.load_all(conf.load(str(config_file)))

    assert 'vendordriver' not in sys.modules
