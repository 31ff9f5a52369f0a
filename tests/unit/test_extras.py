"""What is said where an extra is not installed. The tests hide what is there, and need nothing where it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ovca.conf
from ovca import power, testing
from ovca.exceptions import PowerError


def test_postgresql_without_its_driver_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'psycopg', None)
    config_file = tmp_path / 'ovca.conf'
    config_file.write_text('[database]\nconnection = postgresql://ovca:hunter2@db.example.com/ovca\n')

    result = testing.run(['node-list'], config_file=config_file)

    assert (result.code, result.out) == (3, '')
    assert result.err.startswith('ovca: [database] connection names PostgreSQL, but its driver cannot be loaded')
    assert result.err.endswith("install it: pip install 'ovca[postgresql]' [postgresql-missing]\n")
    assert result.err.count('\n') == 1
    assert 'hunter2' not in result.err


def test_redfish_without_its_library_is_refused_before_any_machine_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'sushy', None)
    config_file = tmp_path / 'ovca.conf'
    config_file.write_text('[power]\ndriver = redfish\nbmc = mn1:https://bmc1.example.com/redfish/v1/Systems/1\n')

    with pytest.raises(PowerError) as caught:
        power.load(ovca.conf.load(str(config_file)), 'mn1')

    assert str(caught.value) == "[power] driver is redfish, which needs sushy; install it: pip install 'ovca[redfish]'"
    assert caught.value.id == 'redfish-missing'
