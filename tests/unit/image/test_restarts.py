"""Places in a bundle at which its ISO can be inflated afresh: they are true, and in nobody's way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ovca.image.build import build
from ovca.image.bundle import Bundle, Unpacked
from ovca.image.restarts import Restarts, step_of
from ovca.image.signing import sign_bundle
from tests.conftest import missing_peer

from .conftest import SIZE, STEP, iso_of

MEGABYTE = 1024 * 1024


def test_from_each_place_the_rest_of_the_iso_is_inflated(stock: tuple[Path, bytes]) -> None:
    raw = stock[1]
    bundle, member = iso_of(raw)
    start = bundle.position
    iso = b''.join(bundle.content(64 * MEGABYTE))
    assert member.restarts is not None
    assert len(member.restarts.packed) == (len(iso) - 1) // STEP >= 4 * SIZE

    for size in range(STEP, len(iso), STEP):
        plain, packed = member.restarts.before(size + 100)
        bundle = Bundle(iter([raw[:start], raw[start + packed :]]), 'the bundle')
        while not bundle.next().name.endswith('.iso'):  # type: ignore[union-attr]
            b''.join(bundle.content(MEGABYTE))
        assert plain == size
        assert b''.join(bundle.content(64 * MEGABYTE, Unpacked(iter([iso[:plain]]), packed))) == iso
        assert bundle.next() is None


def test_other_programs_read_such_a_bundle(stock: tuple[Path, bytes], tmp_path: Path) -> None:
    (tmp_path / 'large.zip').write_bytes(stock[1])
    bundle, member = iso_of(stock[1])
    iso = b''.join(bundle.content(64 * MEGABYTE))

    for command in ('unzip -p large.zip', 'bsdtar -xOf large.zip', '7zz x -so large.zip'):
        if shutil.which(command.split()[0]) is None:
            missing_peer(f'{command.split()[0]} is not installed: apt-get install unzip libarchive-tools 7zip')
        done = subprocess.run([*command.split(), member.name], cwd=tmp_path, capture_output=True, check=True)
        assert done.stdout == iso, command


def test_signing_anew_keeps_the_places(stock: tuple[Path, bytes], tmp_path: Path) -> None:
    (tmp_path / 'large.zip').write_bytes(stock[1])

    sign_bundle(tmp_path / 'large.zip', tmp_path / 'again.zip', stock[0] / 'vendor.key')

    assert iso_of((tmp_path / 'again.zip').read_bytes())[1].restarts == iso_of(stock[1])[1].restarts


def test_an_iso_of_one_step_has_no_places(tmp_path: Path) -> None:
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree/file').write_bytes(os.urandom(1000))
    build(tmp_path / 'small.zip', version='1.1.0', mgmt=tmp_path / 'tree')

    assert iso_of((tmp_path / 'small.zip').read_bytes())[1].restarts is None


def test_the_places_of_an_iso_of_any_size_fit_into_its_head() -> None:
    for size in (1, 2**31, 4 * 2**30, 31 * 2**30, 2**40):
        step = step_of(size)
        field = Restarts(step, (1,) * ((size - 1) // step)).field()
        assert len(field) + 28 < 2**16
    assert step_of(10**9, 16) % 16 == 0


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\0' * 8,
        Restarts(0, (1, 2)).field()[4:],
        Restarts(10, (5, 5)).field()[4:],
        Restarts(10, (0, 5)).field()[4:],
        Restarts(10, (5, 90)).field()[4:],
        Restarts(50, (5, 6)).field()[4:],
        Restarts(10, (5, 6)).field()[4:-1],
    ],
)
def test_places_that_cannot_be_are_passed_over(data: bytes) -> None:
    assert Restarts.parsed(data, 100, 80) is None
    assert Restarts.parsed(Restarts(10, (5, 6)).field()[4:], 100, 80) == Restarts(10, (5, 6))
