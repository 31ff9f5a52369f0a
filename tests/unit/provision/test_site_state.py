"""Saved site settings: whole or not at all, for root's eyes only, and never overwritten by less than they were."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import pytest

from ovca.exceptions import ProvisionError
from ovca.provision.authority import SiteFile, SiteFolder
from ovca.provision.site import state
from ovca.provision.site.state import ItemState, SiteState
from ovca.provision.site.survey import Loss, Why

FILES = (
    SiteFile('etc/ovca.conf', 0o640, b'[cluster]\n\0\xff', 'configuration', 'root', 'adm'),
    SiteFile('etc/ssh/ssh_host_key', 0o600, b'k', 'ssh-host-keys', 'root', 'root', (SiteFolder('etc/ssh', 0o700),)),
)
STATE = SiteState(
    node='mn1',
    version='1.0.0',
    installation='first',
    items=(
        ItemState('configuration', state.SAVED),
        ItemState('lights', state.SAVED, data=b'\0on', notes={'rack 1': 'on'}),
        ItemState('files', state.ABSENT, 'there are none'),
    ),
    files=FILES,
    losses=(Loss('etc/motd', Why.CHANGED),),
    losses_total=1,
    report={'items': []},
)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / 'shared').mkdir()
    return tmp_path / 'shared'


def content(found: SiteState) -> SiteState:
    return dataclasses.replace(found, saved_at='', looked_at='')


def newest(shared: Path) -> Path:
    return shared / '.ovca-site/mn1/site.json'


def test_what_is_saved_is_what_is_loaded(shared: Path) -> None:
    made = state.save(STATE, shared)

    found = state.load(shared, 'mn1')

    assert content(found) == STATE
    assert found.saved_at == made.saved_at


def test_only_the_owner_can_read_what_is_saved(shared: Path) -> None:
    for installation in ('first', 'second'):
        state.save(dataclasses.replace(STATE, installation=installation), shared)

    folder = newest(shared).parent
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder.parent, folder, *folder.iterdir())}
    assert modes == {
        '.ovca-site': 0o700,
        'mn1': 0o700,
        'site.json': 0o600,
        'site.previous.json': 0o600,
        'site.before-install.json': 0o600,
    }


def test_no_change_writes_nothing_but_says_that_it_was_looked_at(shared: Path) -> None:
    first = state.save(STATE, shared)
    inode = newest(shared).stat().st_ino

    second = state.save(STATE, shared)

    assert newest(shared).stat().st_ino == inode
    assert (second.saved_at, second.looked_at > first.looked_at) == (first.saved_at, True)
    assert state.load(shared, 'mn1').looked_at > first.looked_at


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: b'',
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'1.0.0', b'1.0.1'),
        lambda data: b'{}',
        lambda data: b'[{"path": "x"}]',
        lambda data: b'[{"path": "x", "mode": 420, "base64": "?"}]',
    ],
)
def test_of_a_torn_state_the_one_before_it_is_used_and_stays(shared: Path, damage) -> None:
    before = dataclasses.replace(STATE, files=FILES[:1])
    state.save(before, shared)
    state.save(STATE, shared)
    newest(shared).write_bytes(damage(newest(shared).read_bytes()))

    assert content(state.load(shared, 'mn1')) == before

    later = dataclasses.replace(STATE, files=())
    state.save(later, shared)
    newest(shared).write_bytes(b'')
    assert content(state.load(shared, 'mn1')) == before, 'what is torn has taken the place of what was whole'


def test_a_torn_state_with_none_before_it_is_an_error(shared: Path) -> None:
    state.save(STATE, shared)
    newest(shared).write_bytes(b'')

    with pytest.raises(ProvisionError, match=r'start ovca\.service on mn1 once'):
        state.load(shared, 'mn1')


def test_the_last_state_of_the_system_before_survives_all_looks_at_the_new_one(shared: Path) -> None:
    state.save(STATE, shared)
    for number in range(3):
        fresh = dataclasses.replace(STATE, installation='second', files=FILES[:1], compared=f'{number}')
        state.save(fresh, shared)

    kept = (newest(shared).parent / 'site.before-install.json').read_bytes()
    assert content(state.decode(kept, 'mn1')) == STATE


def test_nodes_do_not_share_their_settings(shared: Path) -> None:
    state.save(STATE, shared)

    with pytest.raises(ProvisionError, match=r'start ovca\.service on mn2'):
        state.load(shared, 'mn2')


def test_a_state_in_the_wrong_nodes_folder_is_not_used(shared: Path) -> None:
    state.save(STATE, shared)
    newest(shared).parent.rename(shared / '.ovca-site/mn2')

    with pytest.raises(ProvisionError, match='it is the state of mn1'):
        state.load(shared, 'mn2')


def test_what_software_of_before_site_items_has_saved_is_put_back_too(shared: Path) -> None:
    newest(shared).parent.mkdir(parents=True)
    old = [{'path': 'etc/ovca.conf', 'mode': 0o640, 'base64': base64.b64encode(b'old').decode()}]
    newest(shared).write_text(json.dumps(old))

    bundle = state.load(shared, 'mn1').bundle()

    assert bundle.files == (SiteFile('etc/ovca.conf', 0o640, b'old'),)


def test_shared_storage_that_takes_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()

    with pytest.raises(ProvisionError, match='see to the shared storage'):
        state.save(STATE, tmp_path / 'file')


def test_storage_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match='No such file'):
        state.save(STATE, tmp_path / 'nfs')

    assert not (tmp_path / 'nfs').exists()


def test_no_content_is_shown_by_what_is_printed(shared: Path) -> None:
    secret = dataclasses.replace(STATE, files=(SiteFile('etc/x', 0o600, b'geheim'),))

    assert 'geheim' not in repr(state.save(secret, shared).bundle()) + repr(secret)
