from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pexpect
import pytest

from ovca import testing
from ovca.image import keys, signature
from ovca.image.build import build
from ovca.image.signing import keygen
from tests.operated import Operated
from tests.unit.cli.test_commands import run


def test_that_no_key_is_there_is_said(operated: Operated, tmp_path: Path) -> None:
    operated.configure('mn1', f'key_folder = {tmp_path / "keys"}\n')

    result = run(operated.started(), 'key-list', '-f', 'json')

    assert (result.code, result.json) == (0, [])
    assert f'[image] key_folder {tmp_path / "keys"} holds no public key (*.pub), as it is not there; ' in result.err


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    tree, bundle = tmp_path / 'tree', tmp_path / 'x.zip'
    tree.mkdir()
    (tree / 'file').write_text('content')
    build(bundle, version='1.1.0', mgmt=tree)
    return bundle


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / 'password'
    path.write_text('geheim\n')
    path.chmod(0o600)
    return path


def test_keys_are_listed_with_their_images_and_what_is_revoked(operated: Operated, tmp_path: Path) -> None:
    folder = tmp_path / 'keys'
    for name in ('vendor', 'new'):
        keygen(folder, name)
    ids = {key.name: key.id for key in keys.load(folder).keys}
    (folder / 'revoked').write_text(f'{ids["new.pub"]} # lost\n0123456789ABCDEF\n')
    operated.configure('mn1', f'key_folder = {folder}\n')
    operated.started().image('1.1.0').image('1.2.0', 'c' * 64)
    with operated.database.write() as session:
        from ovca.db.models import Image

        session.get_one(Image, '1.1.0').signed_by = 'vendor.pub'

    rows = run(operated, 'key-list', '-f', 'json').json

    assert [tuple(row.values()) for row in rows] == [
        ('new.pub', ids['new.pub'], True, 'lost', []),
        ('vendor.pub', ids['vendor.pub'], False, None, ['1.1.0']),
        (None, '0123456789ABCDEF', True, 'no reason is given', []),
    ]


def test_a_vendor_makes_a_key_with_a_password_and_signs_a_bundle(
    tmp_path: Path, unsigned: Path, password_file: Path
) -> None:
    folder = tmp_path / 'keys'
    made = testing.run(
        ['image-keygen', 'acme', '--folder', str(folder), '--password-file', str(password_file), '-f', 'json']
    )
    assert made.code == 0, made.err
    argv = ['image-sign', str(unsigned), '--secret-key', str(folder / 'acme.key'), '-f', 'json']

    signed = testing.run([*argv, '--password-file', str(password_file)])

    assert signed.code == 0, signed.err
    assert (made.json['password'], made.json['key_id']) == (True, signed.json['key_id'])
    assert zipfile.ZipFile(unsigned).namelist()[1] == 'manifest.json.minisig'
    assert 'geheim' not in made.out + made.err + signed.out + signed.err

    asked = testing.run(argv)

    assert (asked.code, asked.out) == (2, '')
    assert asked.err.endswith('[password-missing]\n')


def test_a_manifest_is_signed_beside_it(tmp_path: Path, unsigned: Path) -> None:
    secret, _ = keygen(tmp_path / 'keys', 'vendor')
    manifest = tmp_path / 'manifest.json'
    manifest.write_bytes(zipfile.ZipFile(unsigned).read('manifest.json'))

    result = testing.run(['image-sign', str(manifest), '--secret-key', str(secret), '-f', 'json'])

    assert result.code == 0, result.err
    made = Path(result.json['file'])
    assert made == tmp_path / 'manifest.json.minisig'
    digest = json.loads(manifest.read_bytes())['iso']['sha256']
    checked = signature.check(
        manifest.read_bytes(), made.read_bytes(), tmp_path / 'keys', version='1.1.0', digest=digest, source='x'
    )
    assert checked == 'vendor.pub'


def test_a_key_without_a_password_has_to_be_asked_for_in_words(tmp_path: Path) -> None:
    argv = ['image-keygen', 'acme', '--folder', str(tmp_path), '-f', 'json']

    refused = testing.run(argv)
    made = testing.run([*argv, '--no-password'])

    assert (refused.code, refused.out) == (2, '')
    assert '--no-password' in refused.err
    assert (made.code, made.json['password']) == (0, False), made.err
    assert (tmp_path / 'acme.key').stat().st_mode & 0o777 == 0o600


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path, password_file: Path) -> None:
    password_file.chmod(0o644)

    result = testing.run(['image-keygen', 'acme', '--folder', str(tmp_path), '--password-file', str(password_file)])

    assert result.code == 3
    assert '[secret-file-open]' in result.err
    assert not (tmp_path / 'acme.key').exists()


@pytest.mark.parametrize(('again', 'code'), [('geheim', 0), ('anders', 2)])
def test_a_password_is_asked_for_twice_and_never_shown(tmp_path: Path, again: str, code: int) -> None:
    import sys

    child = pexpect.spawn(
        sys.executable, ['-m', 'ovca', 'image-keygen', 'acme', '--folder', str(tmp_path)], encoding='utf-8',
        timeout=30, env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    child.expect_exact('Password of the secret key: ')
    child.sendline('geheim')
    child.expect_exact('The same again: ')
    child.sendline(again)
    rest = child.read()
    child.close()

    assert child.exitstatus == code, rest
    assert 'geheim' not in rest and 'anders' not in rest
    assert (tmp_path / 'acme.key').exists() is (code == 0)
