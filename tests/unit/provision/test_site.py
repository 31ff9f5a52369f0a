"""Site files: saved for root's eyes only, put back as they were."""

from __future__ import annotations

import pytest

from ovca.exceptions import ProvisionError
from ovca.provision import site

PATTERNS = ['etc/ovca.conf', 'etc/ovca/keys/*', '/etc/ssh/ssh_host_*']


@pytest.fixture
def root(tmp_path):
    for name, mode in (('etc/ovca.conf', 0o640), ('etc/ovca/keys/vendor.pub', 0o644), ('etc/ssh/ssh_host_key', 0o600)):
        path = tmp_path / 'root' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() + b'\0\xff')
        path.chmod(mode)
    (tmp_path / 'root/etc/other').write_text('not of the site')
    return tmp_path / 'root'


@pytest.fixture
def shared(tmp_path):
    (tmp_path / 'shared').mkdir()
    return tmp_path / 'shared'


def test_what_is_saved_is_what_is_loaded(root, shared):
    assert site.save(root, PATTERNS, shared, 'mn1') == 3

    bundle = site.load(shared, 'mn1')

    assert {f.path: f.mode for f in bundle.files} == {
        'etc/ovca.conf': 0o640,
        'etc/ovca/keys/vendor.pub': 0o644,
        'etc/ssh/ssh_host_key': 0o600,
    }
    assert bundle.files[0].content == b'etc/ovca.conf\0\xff'


def test_only_the_owner_can_read_what_is_saved(root, shared):
    site.save(root, PATTERNS, shared, 'mn1')

    saved = shared / '.ovca-site/mn1/site.json'
    assert [p.stat().st_mode & 0o777 for p in (saved, saved.parent, saved.parent.parent)] == [0o600, 0o700, 0o700]


def test_a_change_is_saved_and_no_change_writes_nothing(root, shared):
    site.save(root, PATTERNS, shared, 'mn1')
    saved = shared / '.ovca-site/mn1/site.json'
    first = saved.stat().st_ino

    site.save(root, PATTERNS, shared, 'mn1')
    assert saved.stat().st_ino == first
    (root / 'etc/ovca.conf').write_text('changed')
    site.save(root, PATTERNS, shared, 'mn1')

    assert site.load(shared, 'mn1').files[0].content == b'changed'


def test_links_and_folders_are_not_site_files(root, shared):
    (root / 'etc/ovca/keys/folder').mkdir()
    (root / 'etc/ovca/keys/link').symlink_to('/etc/passwd')

    assert site.save(root, PATTERNS, shared, 'mn1') == 3


def test_nodes_do_not_share_their_files(root, shared):
    site.save(root, PATTERNS, shared, 'mn1')

    with pytest.raises(ProvisionError, match=r'start ovca\.service on mn2'):
        site.load(shared, 'mn2')


@pytest.mark.parametrize('data', ['', '{}', '[{"path": "x"}]', '[{"path": "x", "mode": 420, "base64": "?"}]'])
def test_damaged_site_files_are_an_error_and_saved_anew(root, shared, data):
    site.save(root, PATTERNS, shared, 'mn1')
    (shared / '.ovca-site/mn1/site.json').write_text(data)

    with pytest.raises(ProvisionError):
        site.load(shared, 'mn1')
    assert site.save(root, PATTERNS, shared, 'mn1') == len(site.load(shared, 'mn1').files)


def test_shared_storage_that_takes_nothing_is_said(root, tmp_path):
    (tmp_path / 'file').touch()

    with pytest.raises(ProvisionError, match='see to the shared storage'):
        site.save(root, PATTERNS, tmp_path / 'file', 'mn1')
