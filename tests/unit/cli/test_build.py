from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ovca import testing
from ovca.image.build import keygen


def tree(folder: Path) -> Path:
    (folder / 'tree/etc').mkdir(parents=True)
    (folder / 'tree/etc/motd').write_text('hello\n')
    return folder / 'tree'


def test_a_vendor_makes_a_signed_image_from_a_tree(tmp_path: Path) -> None:
    secret, _ = keygen(tmp_path, 'vendor')
    bundle = tmp_path / 'out/ovca-1.1.0.iso.zip'
    argv = ['image-build', '--image-version', '1.1.0', '--mgmt', str(tree(tmp_path)), '--secret-key', str(secret)]

    result = testing.run([*argv, '--update-from', '1.0.0', '--notes', 'better', '-f', 'json', str(bundle)])

    assert result.code == 0, result.err
    assert (result.json['file'], result.json['version'], result.json['signed']) == (str(bundle), '1.1.0', True)
    members = zipfile.ZipFile(bundle).namelist()
    assert members[:3] == ['manifest.json', 'manifest.json.minisig', 'files.json']
    assert members[3].endswith('.iso')


def test_a_version_that_is_never_gone_back_to_says_so_in_its_manifest(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    said = {}
    for words in ((), ('--no-accept-downgrade',)):
        bundle = tmp_path / 'x.zip'
        argv = ['image-build', '--image-version', '1.1.0', '--mgmt', str(folder), *words, str(bundle)]
        assert testing.run(argv).code == 0
        said[words] = json.loads(zipfile.ZipFile(bundle).read('manifest.json'))['accept_downgrade']

    assert said == {(): True, ('--no-accept-downgrade',): False}


def test_the_installer_is_put_into_the_image(tmp_path: Path) -> None:
    bundle = tmp_path / 'x.zip'

    result = testing.run(['image-build', '--image-version', '1.1.0', '--mgmt', str(tree(tmp_path)), str(bundle)])

    assert result.code == 0, result.err
    assert b'boot/installer.pyz' in zipfile.ZipFile(bundle).read('files.json')


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = testing.run(['image-build', '--image-version', '1.1.0', '--mgmt', '/none', str(tmp_path / 'x.zip')])

    assert (result.code, result.out) == (2, '')
    assert result.err == 'ovca: /none is not a folder; name the right one [no-such-path]\n'


def test_a_version_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    argv = ['image-build', '--image-version', 'new one', '--mgmt', str(tree(tmp_path)), str(tmp_path / 'x.zip')]

    result = testing.run(argv)

    assert result.code in (2, 4)
    assert result.err.startswith('ovca: ')
    assert result.err.count('\n') == 1
    assert 'mistake in' not in result.err


@pytest.mark.parametrize(
    ('kind', 'name', 'said'),
    [
        ('file', b'caf\xe9', r'caf\udce9 has a name that is not UTF-8; rename it'),
        ('folder', b'caf\xe9', r'caf\udce9 has a name that is not UTF-8; rename it'),
        ('link', b'caf\xe9', 'inner points to a path that is not UTF-8; change it'),
        ('file', b'a\nb', r'a\nb holds a control character and is not a name that a file may have; rename it'),
        ('folder', b'a\\b', r'a\b holds a backslash and is not a name that a file may have; rename it'),
        ('link', b'a\x1b', 'inner points to a path with a control character; change it'),
        ('link', b'a' * 1025, 'inner points to a path longer than 1024 bytes; change it'),
    ],
    ids=lambda value: value if value in ('file', 'folder', 'link') else '',
)
def test_what_no_image_can_hold_is_named_before_one_is_made(tmp_path: Path, kind: str, name: bytes, said: str) -> None:
    place = tree(tmp_path)
    if kind == 'link':
        (place / 'inner').symlink_to(os.fsdecode(name))
    elif kind == 'folder':
        (place / os.fsdecode(name)).mkdir()
    else:
        (place / os.fsdecode(name)).touch()

    result = testing.run(['image-build', '--image-version', '1.1.0', '--mgmt', str(place), str(tmp_path / 'x.zip')])

    assert (result.code, result.err.count('\n')) == (2, 1)
    assert result.err.endswith(f'/{said} [unfit-tree]\n')
    assert not (tmp_path / 'x.zip').exists()


@pytest.mark.parametrize(
    ('words', 'id', 'said'),
    [
        (['--password-file', 'text'], 'no-secret-key', '--secret-key'),
        (['--update-from', '1.1.0'], 'not-older', '--update-from 1.1.0 is not older than 1.1.0'),
        (['--downgrade-to', '2.0'], 'not-older', '--downgrade-to 2.0'),
        (['--stepping-stone', '1.0', '--stepping-stone', '2.0'], 'not-older', '--stepping-stone 2.0'),
        (['--update-from', ''], 'bad-version', "--update-from: '' is not a version"),
        (['--downgrade-to', ''], 'bad-version', "--downgrade-to: '' is not a version"),
        (['--notes-file', 'binary'], 'no-such-path', 'binary is not UTF-8 text'),
        (['--notes-file', '/proc/self/mem'], 'no-such-path', '/proc/self/mem cannot be read: Input/output error'),
        (['--installer', '/proc/self/mem'], 'bundle-file', 'x.zip cannot be made: Input/output error'),
        (['--installer', 'tree'], 'no-such-path', 'tree is not a file'),
        (['--hmp', 'text'], 'no-such-path', 'text is not a folder'),
        (['--ovm', ''], 'bad-option', 'argument --ovm: the path is empty'),
        (['--secret-key', 'text/key'], 'no-such-path', 'text/key is not a file'),
        (['--output', 'x'], 'bad-option', '--output'),
    ],
)
def test_what_makes_no_image_is_said_before_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], id: str, said: str
) -> None:
    tree(tmp_path)
    (tmp_path / 'text').write_text('x')
    (tmp_path / 'binary').write_bytes(b'\xff\xfe')
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())

    result = testing.run(['image-build', '--image-version', '1.1.0', '--mgmt', 'tree', 'x.zip', *words])

    assert (result.code, result.out) == (4 if id in ('bad-version', 'bundle-file') else 2, ''), result.err
    assert said in result.err
    assert result.err.endswith(f'[{id}]\n')
    assert result.err.count('\n') == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ('output', 'code', 'said'),
    [
        ('tree', 2, 'tree is a folder, and a file is to be written; name one [no-such-path]'),
        ('', 2, 'argument <output>: the path is empty'),
        ('text/x.zip', 4, 'text cannot be used: File exists; see to the file [bundle-file]'),
        ('/proc/x.zip', 4, '/proc/x.zip cannot be made: No such file or directory; see to the file [bundle-file]'),
    ],
)
def test_a_place_where_no_image_can_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, code: int, said: str
) -> None:
    tree(tmp_path)
    (tmp_path / 'text').write_text('x')
    monkeypatch.chdir(tmp_path)

    result = testing.run(['image-build', '--image-version', '1.1.0', '--mgmt', 'tree', output])

    assert (result.code, result.out) == (code, '')
    assert said in result.err


SEALED = """
import json, sys
from ovca import testing
runs = [testing.run(words) for words in json.load(sys.stdin)]
json.dump([[run.code, run.err] for run in runs], sys.stdout)
"""
AS_ANYBODY = ('setpriv', '--bounding-set=-dac_override,-dac_read_search') if os.geteuid() == 0 else ()
"""What lets root, too, read and write only what the rights allow."""


def test_what_may_not_be_read_or_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keygen(tmp_path, 'vendor')
    key, good = str(tmp_path / 'vendor.key'), tree(tmp_path)
    bundle = tmp_path / 'x.zip'
    build = ['image-build', '--image-version', '1.1.0', '--mgmt', str(good)]
    assert testing.run([*build, str(bundle)]).code == 0
    file, folder, closed = tmp_path / 'file', tmp_path / 'folder', tmp_path / 'closed'
    (closed / 'sub').mkdir(parents=True)
    file.write_text('x')
    folder.mkdir()
    for path, mode in ((file, 0), (folder, 0o500), (closed, 0)):
        path.chmod(mode)
    (tmp_path / 'db.conf').write_text(f'[database]\nconnection = sqlite:///{closed}/sub/x.sqlite\n')
    monkeypatch.chdir(tmp_path)
    told = {
        (*build, str(folder / 'y.zip')): (4, f'{folder / "y.zip"} cannot be made: Permission denied', 'bundle-file'),
        (*build, str(tmp_path / 'y.zip'), '--notes-file', str(file)): (2, f'{file} cannot be read', 'no-such-path'),
        (*build, str(tmp_path / 'y.zip'), '--hmp', str(closed)): (2, f'{closed} cannot be read', 'no-such-path'),
        (*build, str(tmp_path / 'y.zip'), '--ovm', str(closed / 'sub')): (
            2,
            f'{closed / "sub"} cannot',
            'no-such-path',
        ),
        ('image-sign', str(file), '--secret-key', key): (2, f'{file} cannot be read', 'no-such-path'),
        ('image-sign', str(bundle), '--secret-key', str(file)): (2, f'{file} cannot be read', 'no-such-path'),
        ('image-sign', str(bundle), '--secret-key', key, '--output', str(folder / 'y.zip')): (
            4,
            f'{folder / "y.zip"} cannot be made: Permission denied',
            'bundle-file',
        ),
        ('image-keygen', 'x', '--no-password', '--folder', str(folder)): (
            2,
            f'no key can be written to {folder}: Permission denied',
            'no-such-path',
        ),
        ('channel-build', str(closed), '--secret-key', key): (2, f'{closed} cannot be read', 'no-such-path'),
        ('--config-file', 'db.conf', 'db-check'): (9, 'the database sqlite', 'database-problems'),
        ('backup-show', str(closed / 'sub')): (12, f'{closed / "sub"} cannot be read', 'backup-unreadable'),
        ('--config-file', 'db.conf', 'config-check'): (3, '', 'config-failed'),
        ('--config-file', str(closed / 'sub'), 'config-show'): (
            3,
            f'{closed / "ovca/vendor.d"}: ',
            'config-unreadable',
        ),
    }

    done = subprocess.run(
        [*AS_ANYBODY, sys.executable, '-c', SEALED], input=json.dumps(list(told)), text=True, check=True,
        stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip

    closed.chmod(0o700)
    for words, (code, said) in zip(told, json.loads(done.stdout), strict=True):
        expected, start, id = told[words]
        assert said.startswith(f'ovca: {start}'), words
        assert said.endswith(f'[{id}]\n')
        assert code == expected
