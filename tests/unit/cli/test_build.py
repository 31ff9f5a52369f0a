from __future__ import annotations

import json
import zipfile
from pathlib import Path

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
