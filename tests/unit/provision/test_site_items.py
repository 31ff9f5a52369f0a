"""What is looked at on a node: the items in turn, and then what none of them carries over."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from ovca.provision.site import gathering, items, state, survey
from ovca.provision.site.base import FileItem, SiteItemError
from ovca.provision.site.fake import FakeItem
from ovca.provision.site.gathering import Watch, gather
from ovca.provision.site.state import SiteState
from ovca.provision.site.survey import Loss, Why
from ovca.testing.appliance import Config
from tests.unit.provision.conftest import few_calls_deep

IMAGE = {
    'etc/ovca/keys/vendor.pub': 'vendor',
    'etc/motd': 'welcome',
    'etc/sshd_config': 'Port 22',
    'etc/gone': 'x',
    'usr/bin/ovcad': 'x',
}
OURS = {
    'etc/ovca.conf': 'c',
    'etc/ovca/secrets/bmc': 's',
    'etc/ssh/ssh_host_key': 'h',
    'etc/ssl/private/site.key': 'p',
    'etc/ssl/certs/ca-certificates.crt': 'made',
    'usr/local/share/ca-certificates/deep/ours.crt': 'a',
}


class Node:
    """A node that was installed from an image, as files."""

    def __init__(self, folder: Path) -> None:
        self.config = Config(folder / 'appliance')
        self.root, self.shared = self.config.folder / 'root', self.config.shared
        self.more: list[FakeItem] = []
        for name, text in {**IMAGE, **OURS}.items():
            self.lay(name, text)
        rows = [
            {
                'path': f'mgmt_image/{name}',
                'size': len(t),
                'sha256': hashlib.sha256(t.encode()).hexdigest(),
                'mode': 420,
            }
            for name, t in IMAGE.items()
        ]
        listing = self.shared / 'mgmt_image/1.0.0/files.json'
        listing.parent.mkdir(parents=True)
        listing.write_text(json.dumps({'files': rows}))
        record = {'version': '1.0.0', 'digest': 'd' * 64, 'installed_at': '2026-01-01T00:00:00Z'}
        record['files_digest'] = hashlib.sha256(listing.read_bytes()).hexdigest()
        self.lay('etc/ovca/installed.json', json.dumps(record))

    def lay(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        return path

    def look(self, before: SiteState | None = None) -> SiteState:
        conf = self.config.load()
        folders = conf.provision.site_watch
        return gather(
            self.root,
            [*items.load(conf), *self.more],
            node='mn1',
            watch=Watch(folders, conf.provision.site_ignore),
            image=gathering.vouched(self.root, self.shared, folders),
            before=before,
        )

    def lost(self) -> dict[str, str]:
        return {loss.path: loss.why.value for loss in self.look().losses}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def by_item(found: SiteState) -> dict[str, list[str]]:
    return {item.name: [file.path for file in found.item_files(item.name)] for item in found.items}


def test_each_file_belongs_to_the_first_item_that_takes_it(node: Node) -> None:
    node.config.set('provision', root=node.root, site_files='etc/ovca/*,etc/ssh/*')

    found = node.look()

    assert by_item(found) == {
        'configuration': ['etc/ovca.conf', 'etc/ovca/secrets/bmc'],
        'ssh-host-keys': ['etc/ssh/ssh_host_key'],
        'certificates': ['etc/ssl/private/site.key', 'usr/local/share/ca-certificates/deep/ours.crt'],
        'network': [],
        'files': [],
    }
    assert {item.name: item.outcome for item in found.items if item.outcome != state.SAVED} == {
        'network': state.ABSENT,
        'files': state.ABSENT,
    }


def test_files_that_options_name_are_configuration(node: Node) -> None:
    node.lay('etc/rack/password', 'secret')
    node.config.set('power', password_file=node.root / 'etc/rack/password')
    node.config.set('update', client_key='/etc/elsewhere.pem')

    assert 'etc/rack/password' in by_item(node.look())['configuration']


def test_files_that_a_list_or_the_databases_url_name_are_configuration(node: Node) -> None:
    for name in ('opt/web/site.pem', 'etc/pg/root.crt', 'etc/pg/own key'):
        node.lay(name, 'x')
    node.config.set('check', certificates=[node.root / 'opt/web/site.pem', node.root / 'opt/web/gone.pem'])
    url = (
        f'postgresql://otto:geheim@db/ovca?sslrootcert={node.root}/etc/pg/root.crt&sslkey={node.root}/etc/pg/own%20key'
    )
    secret = node.lay('etc/ovca/secrets/database', url)
    secret.chmod(0o600)
    node.config.set('database', connection_file=secret)

    found = by_item(node.look())['configuration']

    assert {'opt/web/site.pem', 'etc/pg/root.crt', 'etc/pg/own key', 'etc/ovca/secrets/database'} <= set(found)


def test_a_url_that_cannot_be_had_names_no_files(node: Node) -> None:
    node.config.set('database', connection_file=node.root / 'etc/gone')

    assert 'etc/ovca.conf' in by_item(node.look())['configuration']


def test_what_is_still_as_the_image_brought_it_is_left_to_the_next_image(node: Node) -> None:
    found = node.look()
    node.lay('etc/ovca/keys/vendor.pub', 'another key')
    changed = node.look()

    assert 'etc/ovca/keys/vendor.pub' not in {file.path for file in found.files}
    assert 'left to the next one' in found.items[0].detail
    assert 'etc/ovca/keys/vendor.pub' in {file.path for file in changed.files}


def test_what_no_item_carries_over_is_listed_with_its_kind(node: Node) -> None:
    assert node.lost() == {}
    node.lay('etc/motd', 'changed')
    node.lay('root/.ssh/authorized_keys', 'k')
    node.lay('etc/link-target', 'x').rename(node.root / 'etc/added')
    (node.root / 'etc/gone').unlink()
    (node.root / 'etc/sshd_config').chmod(0o600)
    (node.root / 'etc/alias').symlink_to('motd')
    node.lay('usr/bin/ovcad', 'outside of what is watched')
    node.lay('root/.cache/x/y', 'ignored')

    assert node.lost() == {
        'etc/motd': 'changed',
        'root/.ssh/authorized_keys': 'added',
        'etc/added': 'added',
        'etc/gone': 'removed',
        'etc/sshd_config': 'changed',
        'etc/alias': 'added',
    }


def test_what_lies_very_deep_is_listed_too(node: Node) -> None:
    deep = '/'.join(['usr/local', *['d'] * 300, 'x'])
    node.lay(deep, 'x')

    with few_calls_deep(200):
        lost = survey.losses(node.root, survey.Vouched({}), ['usr/local'], kept=lambda path: False)

    assert Loss(deep, Why.ADDED) in lost


def test_what_the_operator_lists_or_ignores_is_not_lost(node: Node) -> None:
    for name in ('etc/motd', 'root/deep/er/file', 'etc/toy'):
        node.lay(name, 'changed')
    node.config.set('provision', site_files='etc/motd,root/**/*', site_ignore='etc/to*,etc/ssl/*')

    found = node.look()

    assert (found.losses, by_item(found)['files']) == ((), ['etc/motd', 'root/deep/er/file'])


def test_without_the_images_list_it_is_said_that_nothing_is_known(node: Node) -> None:
    listing = node.shared / 'mgmt_image/1.0.0/files.json'
    listing.write_text(listing.read_text() + ' ')

    found = node.look()

    assert (found.losses, 'not the list that this system was installed from' in found.compared) == ((), True)
    assert 'etc/ovca/keys/vendor.pub' in {file.path for file in found.files}, 'in doubt a file is carried over'


def test_an_item_that_fails_keeps_what_was_saved_of_it_and_leaves_the_others_alone(node: Node) -> None:
    lights = FakeItem(node.config.load())
    lights.name, lights.settings = 'lights', 'on'
    node.more = [lights]
    before = node.look()
    lights.broken = 'nobody is there'

    found = node.look(before)

    (row,) = (item for item in found.items if item.name == 'lights')
    assert (row.outcome, row.data) == (state.FAILED, b'on')
    assert 'site item lights could not be saved: ConnectionRefusedError: nobody is there' in row.detail
    assert found.files == before.files


def test_a_file_too_large_for_a_setting_fails_its_item(node: Node) -> None:
    with (node.root / 'etc/ssh/ssh_host_key').open('wb') as stream:
        stream.truncate(5 * 2**20)

    found = node.look(before=None)

    assert [item.detail for item in found.items if item.outcome == state.FAILED] == [
        'site item ssh-host-keys: etc/ssh/ssh_host_key has 5242880 bytes, more than 4194304; it is no setting, take it '
        'out of the patterns'
    ]


def large(node: Node, name: str) -> None:
    with node.lay(name, '').open('wb') as stream:
        stream.truncate(4 * 2**20)


@pytest.mark.parametrize('other', ['srv', 'usr/local/share/ca-certificates'])
def test_settings_that_outgrow_their_bound_together_fail_the_item_that_did_it(node: Node, other: str) -> None:
    node.config.set('provision', site_files='srv/*')
    node.lay('srv/small', 'x')
    for number in range(4):
        large(node, f'{other}/{number}')
    before = node.look()
    for number in range(4, 8):
        large(node, f'srv/{number}')

    found = node.look(before)

    assert [(item.name, item.outcome) for item in found.items if item.outcome == state.FAILED] == [('files', 'failed')]
    assert 'with site item files the site settings have more than 33554432 bytes' in found.items[-1].detail
    assert by_item(found) == by_item(before), 'what was saved before is kept'


@pytest.mark.parametrize('what', ['link', 'pipe', 'folder'])
def test_what_is_put_in_a_files_place_while_it_is_looked_at_is_not_read(node: Node, tmp_path: Path, what: str) -> None:
    class Replaced(FileItem):
        def paths(self, root: Path) -> list[str]:
            return ['home/otto/settings', 'etc/motd']

    (tmp_path / 'shadow').write_text('secret of others')
    place = node.root / 'home/otto/settings'
    place.parent.mkdir(parents=True)
    if what == 'link':
        place.symlink_to(tmp_path / 'shadow')
    elif what == 'pipe':
        os.mkfifo(place)
    else:
        place.mkdir()

    assert [file.path for file in Replaced(node.config.load()).files(node.root)] == ['etc/motd']


def test_owners_are_saved_by_name_as_the_nodes_own_system_has_them(node: Node) -> None:
    state_of = (node.root / 'etc/ovca.conf').stat()
    node.lay('etc/passwd', f'otto:x:{state_of.st_uid}:{state_of.st_gid}::/:/bin/sh\n')
    node.lay('etc/group', f'staff:x:{state_of.st_gid}:\n')

    file = node.look().item_files('configuration')[0]

    assert (file.owner, file.group) == ('otto', 'staff')


def test_a_file_is_as_well_protected_by_its_folders_as_before(node: Node, tmp_path: Path) -> None:
    class Deep(FileItem):
        patterns = ('etc/rack/*/*',)

    for name in ('etc/rack/private/key', 'etc/rack/there/key'):
        node.lay(name, 'k')
    (node.root / 'etc/rack').chmod(0o2750)
    for name in ('private', 'there'):
        (node.root / 'etc/rack' / name).chmod(0o700)
    item = Deep(node.config.load())
    data = item.save(node.root)
    assert data is not None
    other = tmp_path / 'other'
    item.restore(other, data)
    assert {path.name: path.stat().st_mode & 0o7777 for path in sorted(other.rglob('*')) if path.is_dir()} == {
        'etc': 0o755,
        'rack': 0o2750,
        'private': 0o700,
        'there': 0o700,
    }

    brought = tmp_path / 'brought/etc/rack'
    brought.mkdir(parents=True)
    brought.chmod(0o711)
    item.restore(tmp_path / 'brought', data)

    assert brought.stat().st_mode & 0o7777 == 0o711, 'a folder of the image stays as the image has it'
    assert (brought / 'private').stat().st_mode & 0o7777 == 0o700


def test_a_file_item_alone_saves_and_restores_what_it_names(node: Node, tmp_path: Path) -> None:
    class Keys(FileItem):
        patterns = ('etc/ssh/*',)

    item = Keys(node.config.load())
    data = item.save(node.root)
    assert data is not None

    item.restore(tmp_path / 'other', data)

    assert (tmp_path / 'other/etc/ssh/ssh_host_key').read_text() == 'h'
    with pytest.raises(SiteItemError, match='site item Keys could not be put back'):
        item.restore(tmp_path / 'other', b'no json')
