"""The bench of downloads: its figures are for people, that it runs is for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing_peer

ROOT = Path(__file__).parents[3]
PROGRAMS = ('nginx', 'curl', 'unzip', 'bsdtar', 'aria2c', 'openssl', 'sha256sum')


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, ROOT / 'bench/image.py', *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


def test_the_bench_of_downloads_compares_all_ways(tmp_path: Path) -> None:
    path = os.environ.get('PATH', '') + ':/usr/sbin'
    if missing := [program for program in PROGRAMS if not shutil.which(program, path=path)]:
        missing_peer(f'not installed: {", ".join(missing)}')

    done = bench('--size', '4M', '--runs', 1, '--payload', 'incompressible', '--folder', tmp_path / 'bench')

    assert done.returncode == 0, done.stderr
    for line in ('ours / by hand', 'ours / by strong hands', 'ours, HTTPS / by hand, HTTPS', 'ours, 1 Gbit/s / curl'):
        assert line in done.stdout
    assert 'receive' in done.stdout.split('stage')[-1]
    assert not (tmp_path / 'bench').exists()


def test_the_bench_compares_some_ways_only(tmp_path: Path) -> None:
    path = os.environ.get('PATH', '') + ':/usr/sbin'
    if missing := [program for program in PROGRAMS if not shutil.which(program, path=path)]:
        missing_peer(f'not installed: {", ".join(missing)}')
    words = ('--size', '1M', '--runs', 1, '--payload', 'incompressible', '--folder', tmp_path / 'bench', '--ways')

    done = bench(*words, 'by hand,curl, 1 Gbit/s,ours')
    wrong = bench(*words, 'ours,by foot')

    assert done.returncode == 0, done.stderr
    names = [line[:22].rstrip() for line in done.stdout.split('seconds')[1].splitlines()[1:4]]
    assert names == ['ours', 'by hand', 'curl, 1 Gbit/s']
    assert 'ours / by hand' in done.stdout
    assert 'strong' not in done.stdout
    assert wrong.returncode == 1
    assert "there is no way 'by foot' here; there are: ours; by hand;" in wrong.stderr


def test_the_bench_says_which_packages_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))

    done = bench('--size', '4M', '--folder', tmp_path / 'bench')

    assert done.returncode == 1
    assert 'apt-get install' in done.stderr
    assert 'curl unzip libarchive-tools aria2 openssl coreutils' in done.stderr
