"""What an installer may empty, and a factory install: the same code with nobody to ask."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ovca.image import verify_root
from ovca.provision import tree
from ovca.provision.installer import InstallError, install_tree
from tests.unit.provision.conftest import few_calls_deep


def install(stage, **other):
    install_tree(**{'iso': stage.image.iso, 'digest': stage.image.digest, 'root': stage.root, **other})


def test_a_factory_install_is_the_same_install_without_a_grant(stage):
    told = []
    install(stage, site=[{'path': 'etc/ovca.conf', 'mode': 0o640, 'base64': 'eA=='}], tell=lambda *a: told.append(a))

    assert verify_root(stage.root, stage.image.iso.parent / 'files.json') == []
    assert json.loads(stage.installed().read_text())['update'] is None
    assert not stage.evidence().exists()
    assert (stage.root / 'etc/ovca.conf').read_text() == 'x'
    assert [percent for percent, _ in told] == sorted(percent for percent, _ in told)
    assert told[-1][0] == 100


def test_installing_again_takes_the_record_and_the_token_of_before_away(stage):
    install(stage)
    stage.evidence().write_text('{"token": "of the attempt before"}')

    install(stage)

    assert not stage.evidence().exists()


def test_the_running_system_is_never_emptied():
    with pytest.raises(InstallError, match='the running system'):
        tree.check_root(Path('/'), real=True)


def test_a_marker_that_is_a_link_is_no_marker(stage):
    (stage.root / '.ovca-lab').unlink()
    (stage.root / '.ovca-lab').symlink_to(stage.image.iso)

    with pytest.raises(InstallError, match='no mounted target'):
        install(stage)
    assert stage.untouched()


@pytest.mark.parametrize('name', ['nfs', 'Daten für alle', 'a\\b', 'x\r\x85y', os.fsdecode(b'M\xfcller')])
def test_a_mount_is_found_whatever_its_name(tmp_path, monkeypatch, name):
    # As the kernel writes it: of the odd bytes only these are escaped.
    escaped = os.fsencode(tmp_path / name).replace(b'\\', b'\\134').replace(b' ', b'\\040')
    (tmp_path / 'mountinfo').write_bytes(b'36 35 98:0 /a ' + escaped + b' rw - ext4 /dev/x rw\n')
    monkeypatch.setattr(tree, 'MOUNTS', tmp_path / 'mountinfo')
    (tmp_path / '.ovca-lab').touch()

    with pytest.raises(InstallError, match=re.escape(f'{name} is mounted inside')):
        tree.check_root(tmp_path)


def test_a_root_with_something_mounted_in_it_is_not_emptied(stage, monkeypatch):
    monkeypatch.setattr(tree, '_mounts', lambda: [Path('/'), stage.root, stage.root / 'nfs'])

    with pytest.raises(InstallError, match='nfs is mounted inside'):
        install(stage)
    assert stage.untouched()


def test_links_in_the_old_system_lead_the_wipe_nowhere(stage, tmp_path):
    outside = tmp_path / 'outside'
    (outside / 'ovca').mkdir(parents=True)
    (outside / 'ovca/installed.json').write_text('of somebody else')
    (stage.root / 'usr/bin/out').symlink_to(outside)
    for path in sorted((stage.root / 'etc').rglob('*'), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (stage.root / 'etc').rmdir()
    (stage.root / 'etc').symlink_to(outside)

    install(stage)

    assert (outside / 'ovca/installed.json').read_text() == 'of somebody else'
    assert json.loads(stage.installed().read_text())['version'] == '1.1.0'
    assert not (stage.root / 'etc').is_symlink()


def test_an_absolute_site_path_is_below_the_root(stage):
    install(stage, site=[{'path': '/etc/absolute', 'mode': 0o600, 'base64': 'eA=='}])

    assert (stage.root / 'etc/absolute').read_text() == 'x'


@pytest.mark.parametrize('damage', [b'', b'no ISO at all' * 5000])
def test_what_is_no_iso_is_found_before_the_wipe(stage, damage):
    manifest_path = stage.image.iso.parent / 'manifest.json'
    stage.image.iso.write_bytes(damage)
    manifest = json.loads(manifest_path.read_text())
    manifest['iso']['size'] = len(damage)
    manifest_path.write_text(json.dumps(manifest))

    with pytest.raises(InstallError, match='cannot be read'):
        install(stage)
    assert stage.untouched()


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda files: files.pop(), 'does not vouch for|lacks'),
        (lambda files: files.append({'path': 'mgmt_image/zz', 'size': 1, 'sha256': 'x'}), 'lacks 1 files'),
        (lambda files: [f.update(link='elsewhere') for f in files if 'link' in f], 'points elsewhere'),
        (lambda files: files[0].update(size=1), 'bytes, its image says 1'),
        (lambda files: files.clear(), 'lists nothing'),
    ],
)
def test_an_iso_that_is_not_as_listed_is_found_before_the_wipe(stage, change, said):
    import hashlib

    folder = stage.image.iso.parent
    listing, manifest = (json.loads((folder / name).read_text()) for name in ('files.json', 'manifest.json'))
    listing['files'] = [f for f in listing['files'] if f['path'].startswith('mgmt_image/')]
    change(listing['files'])
    (folder / 'files.json').write_text(json.dumps(listing))
    manifest['files_digest'] = hashlib.sha256((folder / 'files.json').read_bytes()).hexdigest()
    (folder / 'manifest.json').write_text(json.dumps(manifest))

    with pytest.raises(InstallError, match=said):
        install(stage)
    assert stage.untouched()


def test_a_root_is_emptied_however_deep_it_is(tmp_path):
    (tmp_path / '.ovca-lab').touch()
    (tmp_path / Path(*['d'] * 300)).mkdir(parents=True)

    with few_calls_deep(200):
        tree.wipe(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ['.ovca-lab']
