"""The unit for systemd."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

from ovca import conf
from ovca.daemon.service import WATCHED
from ovca.lab.machine import MEMORY
from tests.conftest import missing_peer

UNIT = Path(__file__).parents[3] / 'etc/ovca.service'


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser


def test_systemd_takes_it(tmp_path: Path) -> None:
    if shutil.which('systemd-analyze') is None:
        missing_peer('systemd-analyze is not installed: apt-get install systemd')
    path = tmp_path / 'ovca.service'
    path.write_text(UNIT.read_text().replace('/usr/local/bin/ovcad', '/bin/true'))

    done = subprocess.run(
        ['systemd-analyze', 'verify', '--man=no', str(path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, '')


def test_a_service_that_hangs_is_ended_before_its_lease_is() -> None:
    ttl = next(option.default for _, options in conf.list_opts() for option in options if option.dest == 'ttl')

    assert 2 * WATCHED < float(unit()['Service']['WatchdogSec']) < ttl


def test_nothing_in_it_hides_from_others_what_a_role_mounts() -> None:
    # Each of these gives the service a view of its own of the file systems.
    hiding = ('Protect', 'Private', 'ReadOnly', 'ReadWrite', 'Inaccessible', 'Bind', 'Temporary', 'RootDirectory')

    assert [key for key in unit()['Service'] if key.startswith(hiding)] == []


def test_the_lab_gives_a_service_the_memory_that_the_unit_gives_it() -> None:
    assert dict(word.split('=', 1) for word in unit()['Service']['Environment'].split()) == MEMORY
