"""The keys and signatures are those of minisign: its own program makes and reads the same."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from ovca.image import keys, signature
from ovca.image.signing import keygen, sign
from tests.conftest import missing_peer

DATA = b'what is signed\n'
KEY_COMMENT = 'untrusted comment: minisign public key'


def minisign(*words: str, typed: str = '') -> str:
    if shutil.which('minisign') is None:
        missing_peer('minisign is not installed: apt-get install minisign')
    done = subprocess.run(['minisign', *words], input=typed, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize('password', [None, 'geheim'])
def test_minisign_signs_by_our_key_and_we_read_it(tmp_path: Path, password: str | None) -> None:
    secret, public = keygen(tmp_path / 'keys', 'vendor', password=password)
    data = tmp_path / 'data'
    data.write_bytes(DATA)

    minisign(
        '-S', '-H', '-s', str(secret), '-m', str(data), '-t', 'for this', typed=f'{password}\n' if password else ''
    )

    signed = signature.verify(DATA, (tmp_path / 'data.minisig').read_bytes(), public.parent, source='x')
    assert (signed.key, signed.comment) == ('vendor.pub', 'for this')


@pytest.mark.parametrize('password', [None, 'geheim'])
def test_we_sign_by_a_key_of_minisign_and_it_reads_that(tmp_path: Path, password: str | None) -> None:
    (tmp_path / 'keys').mkdir()
    secret, public, data = tmp_path / 'w.key', tmp_path / 'keys/w.pub', tmp_path / 'data'
    without = [] if password else ['-W']
    minisign(
        '-G', *without, '-p', str(public), '-s', str(secret), typed=f'{password}\n{password}\n' if password else ''
    )
    data.write_bytes(DATA)

    (tmp_path / 'data.minisig').write_bytes(sign(DATA, 'for this', secret, (lambda: password) if password else None))

    assert 'Trusted comment: for this' in minisign('-V', '-p', str(public), '-m', str(data))
    # The id that is to be revoked is the one that the vendor sees.
    id = keys.load(public.parent).keys[0].id
    assert public.read_text().splitlines()[0].split()[-1] == id.lstrip('0')  # it prints a number


@pytest.mark.parametrize('first', ['0', '123456789ABCDEF'])
def test_the_comment_of_our_key_names_it_as_minisign_does(tmp_path: Path, first: str) -> None:
    secret, public = _key_that_starts_with(first, tmp_path)

    minisign('-R', '-s', str(secret), '-p', str(tmp_path / 'again.pub'))

    comment, key = public.read_text().splitlines()
    again, same = (tmp_path / 'again.pub').read_text().splitlines()
    id = keys.load(public.parent).keys[0].id
    assert key == same
    # minisign prints a number; ours has all digits, as the list of revoked keys wants them.
    assert (comment, again) == (f'{KEY_COMMENT} {id}', f'{KEY_COMMENT} {id.lstrip("0")}')


def _key_that_starts_with(first: str, folder: Path) -> tuple[Path, Path]:
    """A key pair of ours, the id of which starts with one of these digits; one of sixteen starts with each."""
    for number in itertools.count():
        secret, public = keygen(folder / f'keys-{number}', 'vendor')
        if keys.load(public.parent).keys[0].id[0] in first:
            return secret, public
    raise AssertionError
