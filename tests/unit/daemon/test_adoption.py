"""Images on the shared storage that the database does not know: kept, told, taken up again, or deleted."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import select

from ovca import conf
from ovca.backup import creation, restoration
from ovca.backup.shelf import Shelf
from ovca.daemon.requests import Requests
from ovca.db.models import Image, Lease, Node, Request
from ovca.exceptions import LeaseLost
from ovca.image import Store, note
from ovca.image.build import build, keygen
from ovca.remaster.checks import CheckResult, Result, run_all
from tests.operated import Operated
from tests.unit.daemon.conftest import Clerk

VERSIONS = ('1.1.0', '1.2.0', '1.3.0')


class Site:
    """An appliance that fetches real, signed bundles from a folder, and whose clerk does what is asked for."""

    def __init__(self, operated: Operated, clerk: Clerk, folder: Path) -> None:
        self.operated, self._clerk, self.folder = operated, clerk, folder
        self.shared = operated.folder / 'shared'
        self.secret, _ = keygen(folder / 'keys', 'vendor')
        self.running: tuple[str, str] | None = None
        for version in VERSIONS:
            self.make(version)
        operated.configure('mn1', f'key_folder = {folder / "keys"}\n')

    def uri(self, version: str) -> str:
        return str(self.folder / f'www/{version}.zip')

    def make(self, version: str, *, signed: bool = True, text: str = '', oldest: str = '0.9') -> Path:
        """A bundle; that of 1.1.0 and newer may be downgraded."""
        tree = self.folder / f'tree-{version}{text}'
        (tree / 'usr').mkdir(parents=True)
        for number in range(5):
            (tree / f'usr/file{number}').write_text(f'{version} {text} {number}' * 50)
        deep = tree / '/'.join('abcdefghijklmnopqrst')
        deep.mkdir(parents=True)
        (deep / 'file').touch()
        (tree / 'usr/FILE1').write_text('its name differs by case only')
        (tree / 'link').symlink_to('usr/file1')
        part = self.folder / f'part-{version}{text}'
        part.mkdir()
        (part / 'release').write_text(version)
        bundle = self.folder / f'www/{version}{text}.zip'
        build(
            bundle,
            version=version,
            mgmt=tree,
            hmp=part,
            secret_key=self.secret if signed else None,
            downgrade_to=oldest,
        )
        return bundle

    def clerk(self) -> Requests:
        return self._clerk(self.running) if self.running else self._clerk()

    def asked(self, kind: str, **args: object) -> Request:
        """Ask for something, and have it done."""
        number = self.operated.service().submit(kind, **args)
        clerk = self.clerk()
        assert clerk.step()
        clerk.join(30)
        return self.operated.requests()[number - 1]

    def download(self, version: str, **args: object) -> Request:
        return self.asked('download', uri=str(self.folder / f'www/{version}.zip'), **args)

    def has(self, *versions: str) -> None:
        """These were downloaded, one after the other, and no request waits."""
        for version in versions:
            request = self.download(version)
            assert request.state == 'done', request.error

    def runs(self, version: str) -> None:
        """Both nodes run this image."""
        digest = next(image.digest for image in self.operated.service().images() if image.version == version)
        self.running = (version, digest)
        self._both_run()

    def _both_run(self) -> None:
        assert self.running is not None
        with self.operated.database.write() as session:
            for name in ('mn1', 'mn2'):
                node = session.get_one(Node, name)
                node.running_version, node.running_digest = self.running

    def backup(self) -> str:
        settings = conf.load(str(self.operated.config_file))
        return creation.create(settings, self.operated.database, by='otto', why='a test').id

    def restore(self, backup: str) -> restoration.Outcome:
        """Put a backup back while no service runs; then mn1 leads again, and both nodes say what they run."""
        settings = conf.load(str(self.operated.config_file))
        self.operated.silent(120)
        with Shelf(self.shared / 'backup').open(backup) as (_, reader):
            outcome = restoration.carry_out(settings, self.operated.database, reader, replace=True, who='otto')
        with self.operated.database.write() as session:
            lease = session.get_one(Lease, 'management')
            lease.holder, lease.epoch, lease.acting, lease.incarnation = 'mn1', 3, True, 'this run'
            lease.renewed_at, lease.ttl = self.operated.database.now(session), 30.0
        if self.running is not None:
            self._both_run()
        return outcome

    def forget(self, *versions: str) -> None:
        """The database knows these no more; their folders are left."""
        with self.operated.database.write() as session:
            for version in versions:
                session.delete(session.get_one(Image, version))

    def note(self, version: str) -> Path:
        return self.shared / 'mgmt_image' / version / 'published.json'

    def unknown(self) -> list[str]:
        return self.operated.service().unknown_images()

    def check(self, *names: str, version: str | None = None) -> dict[str, CheckResult]:
        settings = conf.load(str(self.operated.config_file))
        return {found.id: found for found in run_all(settings, self.operated.database, version, only=names)}

    def images(self) -> list[str]:
        return sorted(image.version for image in self.operated.service().images())

    def folders(self) -> list[str]:
        return sorted(str(path.relative_to(self.shared)) for path in self.shared.glob('*_image/*'))

    def journal(self) -> list[str]:
        return [event.detail for event in self.operated.service().journal(kind='image', limit=100)]


@pytest.fixture
def site(operated: Operated, clerk: Clerk, tmp_path: Path) -> Site:
    return Site(operated, clerk, tmp_path)


def test_after_a_restore_of_an_older_backup_a_download_leaves_what_runs_and_it_is_taken_up_again(site: Site) -> None:
    site.has('1.1.0')
    older = site.backup()
    site.has('1.2.0')
    site.runs('1.2.0')

    outcome = site.restore(older)
    assert (outcome.unknown_images, outcome.images_problem) == (('1.2.0',), '')
    assert site.images() == ['1.1.0']
    fetched = site.download('1.3.0')

    assert fetched.state == 'done', fetched.error
    assert site.images() == ['1.1.0', '1.3.0']
    assert {'mgmt_image/1.2.0', 'hmp_image/1.2.0'} <= set(site.folders())
    told = (
        'image 1.2.0 lies on the shared storage, and the database does not know it; `ovca image-adopt 1.2.0` takes it '
        'up, `ovca image-delete 1.2.0` removes it'
    )
    assert site.journal().count(told) == 1
    found = site.check('unknown-images')['unknown-images']
    assert (found.result, found.detail, found.remedy) == (Result.WARNING, *told.split('; '))
    assert (found.facts['versions'], found.facts['running']) == (['1.2.0'], ['1.2.0'])

    taken = site.asked('image-adopt', version='1.2.0')

    assert (taken.state, taken.error) == ('done', None)
    assert taken.result == {'version': '1.2.0', 'digest': site.running[1] if site.running else '', 'known': False}
    row = site.operated.service().image('1.2.0')
    assert (row.signed_by, row.runs_on, row.source) == ('vendor.pub', ('mn1', 'mn2'), site.uri('1.2.0'))
    (event,) = [e for e in site.operated.service().journal(kind='image', limit=9) if 'taken up' in (e.detail or '')]
    assert (event.detail, event.actor) == (f'image 1.2.0 was taken up from {site.note("1.2.0").parent}', 'otto')
    assert site.unknown() == []
    # An update from it, and one that installs it on the other node, find all that they need.
    assert {r.result for r in site.check('image', 'version-path', 'unknown-images', version='1.3.0').values()} == {
        Result.PASSED
    }
    assert site.check('image', version='1.2.0')['image'].result is Result.PASSED
    assert json.loads(site.note('1.2.0').read_text())['digest'] == row.digest


def test_what_runs_stays_although_the_database_is_a_wrong_one_and_older_software_has_published_it(site: Site) -> None:
    site.has('1.1.0', '1.2.0')
    site.runs('1.2.0')
    site.forget('1.1.0', '1.2.0')
    for version in ('1.1.0', '1.2.0'):
        site.note(version).unlink()

    fetched = site.download('1.3.0')

    assert fetched.state == 'done', fetched.error
    assert site.folders() == [f'{part}_image/{version}' for part in ('hmp', 'mgmt') for version in ('1.2.0', '1.3.0')]
    assert site.unknown() == ['1.2.0']
    assert site.asked('image-adopt', version='1.2.0').state == 'done'


def test_images_of_older_software_get_their_notes_with_the_next_download(site: Site) -> None:
    site.has('1.1.0')
    before = json.loads(site.note('1.1.0').read_text())
    site.note('1.1.0').unlink()

    site.has('1.2.0')

    assert json.loads(site.note('1.1.0').read_text()) == before
    site.forget('1.1.0')
    site.has('1.3.0')
    assert 'mgmt_image/1.1.0' in site.folders()


def test_a_restore_notes_what_older_software_has_published_since_the_backup(site: Site) -> None:
    site.has('1.1.0')
    older = site.backup()
    site.has('1.2.0')
    site.note('1.2.0').unlink()

    site.restore(older)
    site.has('1.3.0')

    assert 'mgmt_image/1.2.0' in site.folders()
    assert site.unknown() == ['1.2.0']


def test_a_folder_without_row_and_note_goes_as_it_always_did(site: Site) -> None:
    site.has('1.1.0')
    site.forget('1.1.0')
    site.note('1.1.0').unlink()
    assert site.unknown() == []

    site.has('1.2.0')

    assert site.folders() == ['hmp_image/1.2.0', 'mgmt_image/1.2.0']


def test_what_the_database_knows_already_is_nothing_to_do(site: Site) -> None:
    site.has('1.1.0')
    before = site.note('1.1.0').read_bytes(), site.operated.rows()['image']
    site.note('1.1.0').unlink()

    request = site.asked('image-adopt', version='1.1.0')

    assert (request.state, (request.result or {})['known']) == ('done', True)
    assert (site.note('1.1.0').read_bytes(), site.operated.rows()['image']) == before


def test_what_lies_nowhere_is_named_with_the_folder(site: Site) -> None:
    request = site.asked('image-adopt', version='1.1.0')

    assert (request.state, request.exit_code) == ('failed', 2)
    assert request.error == (
        f"image '1.1.0' is not here: the database does not know it, and there is no folder "
        f'{site.note("1.1.0").parent}; `ovca image-list` shows what is known, `ovca download` fetches an image'
    )


def test_a_download_of_it_says_that_it_is_there(site: Site) -> None:
    site.has('1.1.0')
    site.forget('1.1.0')

    request = site.download('1.1.0')

    assert (request.state, (request.result or {})['error_id']) == ('failed', 'image-unknown')
    assert '`ovca image-adopt 1.1.0` takes it up, or `ovca image-delete 1.1.0` removes it' in str(request.error)
    assert 'mgmt_image/1.1.0' in site.folders()


# What is refused.


def _unsigned(site: Site) -> None:
    (site.note('1.2.0').parent / 'manifest.json.minisig').unlink()


def _another_key(site: Site) -> None:
    site.secret, _ = keygen(site.folder / 'forged', 'vendor')
    site.make('1.2.0', text='-forged')
    forged = Store(site.folder / 'elsewhere')
    _unpacked(site, '1.2.0-forged', forged)
    shutil.rmtree(site.note('1.2.0').parent)
    shutil.copytree(forged.mgmt('1.2.0'), site.note('1.2.0').parent, symlinks=True)


def _unpacked(site: Site, name: str, store: Store) -> None:
    """The image as an appliance would have it that trusts anybody."""
    from ovca.image import receive

    store.root.mkdir()
    settings = conf.load(
        str(site.operated.config_file),
        [f'image.key_folder={site.folder / "forged"}', f'image.shared_storage={store.root}'],
    )
    receive(
        str(site.folder / f'www/{name}.zip'), store=store, conf=settings, progress=lambda _: None,
        cancelled=lambda: False, accept=lambda _: None, commit=lambda _: None,
    )  # fmt: skip


def _revoked(site: Site) -> None:
    key = (site.folder / 'keys/vendor.pub').read_text().splitlines()[1]
    (site.folder / 'keys/revoked').write_text(f'{key} # stolen\n')


def _renamed(site: Site) -> None:
    """An older image, signed by the vendor, under the name of a newer one."""
    for part in ('mgmt', 'hmp'):
        shutil.rmtree(site.shared / f'{part}_image/1.2.0')
        (site.shared / f'{part}_image/1.1.0').rename(site.shared / f'{part}_image/1.2.0')


def _changed(site: Site) -> None:
    path = site.note('1.2.0').parent / 'tree/usr/file3'
    path.write_bytes(b'?' * path.stat().st_size)


def _iso_changed(site: Site) -> None:
    (iso,) = site.note('1.2.0').parent.glob('*.iso')
    with iso.open('r+b') as stream:
        stream.seek(-5000, os.SEEK_END)
        stream.write(b'changed')


def _iso_endless(site: Site) -> None:
    (iso,) = site.note('1.2.0').parent.glob('*.iso')
    os.truncate(iso, 2**40)


def _too_many(site: Site) -> None:
    for number in range(5):
        (site.shared / f'hmp_image/1.2.0/more{number}').touch()


def _one_part_is_missing(site: Site) -> None:
    shutil.rmtree(site.shared / 'hmp_image/1.2.0')


def _tree_elsewhere(site: Site) -> None:
    tree = site.note('1.2.0').parent / 'tree'
    tree.rename(site.folder / 'moved')
    tree.symlink_to(site.folder / 'moved')


def _folder_elsewhere(site: Site) -> None:
    folder = site.note('1.2.0').parent
    folder.rename(site.folder / 'moved')
    folder.symlink_to(site.folder / 'moved')


def _waits(name: str) -> Callable[[Site], None]:
    def pipe(site: Site) -> None:
        path = site.note('1.2.0').parent / name
        path.unlink()
        os.mkfifo(path)

    return pipe


def _endless(name: str) -> Callable[[Site], None]:
    return lambda site: os.truncate(site.note('1.2.0').parent / name, 2**40)


def _linked(site: Site) -> None:
    path = site.note('1.2.0').parent / 'manifest.json'
    path.rename(site.folder / 'manifest')
    path.symlink_to(site.folder / 'manifest')


def _iso_waits(site: Site) -> None:
    (iso,) = site.note('1.2.0').parent.glob('*.iso')
    iso.unlink()
    os.mkfifo(iso)


def _too_large(site: Site) -> None:
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nmax_size = 1024\n')


def _too_deep(site: Site) -> None:
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nmax_depth = 16\n')


def _by_case_only(site: Site) -> None:
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nunique_case = true\n')


@pytest.mark.parametrize(
    ('spoil', 'id', 'words'),
    [
        (_unsigned, 'unsigned', 'it is not signed'),
        (_another_key, 'wrong-signature', 'which is none of the keys that are trusted'),
        (_revoked, 'key-revoked', 'which is revoked (stolen)'),
        (_renamed, 'image-differs', 'its manifest is that of version 1.1.0'),
        (_changed, 'image-differs', '1 file is wrong: mgmt_image/1.2.0/tree/usr/file3 (differs)'),
        (_iso_changed, 'image-differs', '.iso (differs)'),
        (_iso_endless, 'image-differs', '.iso (differs)'),
        (_iso_waits, 'image-differs', '.iso (differs)'),
        (_too_many, 'image-differs', '5 files are wrong: hmp_image/1.2.0/more0 (not listed), '),
        (_one_part_is_missing, 'image-differs', 'hmp_image/1.2.0/release (missing)'),
        (_tree_elsewhere, 'image-differs', 'tree is no folder'),
        (_folder_elsewhere, 'image-differs', 'mgmt_image/1.2.0 is no folder'),
        (_linked, 'image-differs', 'manifest.json cannot be read'),
        (_waits('manifest.json'), 'image-differs', 'it is no regular file'),
        (_waits('files.json'), 'image-differs', 'it is no regular file'),
        (_waits('manifest.json.minisig'), 'image-differs', 'it is no regular file'),
        (_endless('manifest.json'), 'image-differs', '1048576 bytes'),
        (_too_large, 'image-too-large', 'more than [image] max_size allows'),
        (_by_case_only, 'image-differs', 'usr/file1 differs from another name in its folder only by case'),
        (_too_deep, 'image-limit', '[image] max_depth'),
    ],
)
def test_what_a_download_would_refuse_is_not_taken_up(
    site: Site, spoil: Callable[[Site], None], id: str, words: str
) -> None:
    site.has('1.1.0', '1.2.0')
    site.forget('1.1.0', '1.2.0')
    spoil(site)
    (site.note('1.2.0').parent / 'published.json').write_text('{"format": 1, "version": "1.2.0"}')
    before = site.operated.rows()['image']

    request = site.asked('image-adopt', version='1.2.0')

    assert (request.state, request.exit_code, (request.result or {})['error_id']) == ('failed', 4, id), request.error
    assert words in str(request.error)
    if id == 'image-differs':
        assert 'Delete it with `ovca image-delete 1.2.0`, and download it again' in str(request.error)
    assert (site.images(), site.operated.rows()['image']) == ([], before)


@pytest.mark.parametrize(('required', 'state'), [('true', 'failed'), ('false', 'done')])
def test_an_image_that_nobody_has_signed_is_taken_up_where_a_download_would_take_it(
    site: Site, required: str, state: str
) -> None:
    site.make('1.4.0', signed=False)
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nrequire_signature = false\n')
    site.has('1.4.0')
    site.forget('1.4.0')
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nrequire_signature = {required}\n')

    request = site.asked('image-adopt', version='1.4.0')

    assert request.state == state, request.error


def test_what_is_in_an_iso_that_nobody_has_signed_is_compared_with_its_list(site: Site) -> None:
    site.make('1.4.0', signed=False)
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nrequire_signature = false\n')
    site.has('1.4.0')
    site.forget('1.4.0')
    # All of it fits but for one file in the ISO, which a download would have found while it unpacked it.
    folder = site.note('1.4.0').parent
    (iso,) = folder.glob('*.iso')
    data = iso.read_bytes()
    assert data.count(b'1.4.0  3') == 50
    iso.write_bytes(data.replace(b'1.4.0  3', b'1.4.0  x'))
    manifest = json.loads((folder / 'manifest.json').read_text())
    import hashlib

    manifest['iso']['sha256'] = hashlib.sha256(iso.read_bytes()).hexdigest()
    (folder / 'manifest.json').write_text(json.dumps(manifest))

    request = site.asked('image-adopt', version='1.4.0')

    assert (request.state, (request.result or {})['error_id']) == ('failed', 'image-differs')
    assert 'usr/file3 has another digest than files.json says' in str(request.error)


# Older ones, and those that nobody may go back to.


def test_an_older_one_is_taken_up_as_it_would_be_downloaded(site: Site) -> None:
    site.has('1.1.0', '1.2.0')
    site.runs('1.2.0')
    site.forget('1.1.0', '1.2.0')

    nobody_knows = site.asked('image-adopt', version='1.1.0', allow_downgrade=True)
    running = site.asked('image-adopt', version='1.2.0')
    not_asked = site.asked('image-adopt', version='1.1.0')
    asked = site.asked('image-adopt', version='1.1.0', allow_downgrade=True)

    assert str(nobody_knows.error) == (
        '1.1.0 is older than the installed 1.2.0, and whether that may be downgraded is not known: its image is not '
        'here; choose a newer image, or take up that of 1.2.0 first if it lies on the shared storage, with `ovca '
        'image-adopt 1.2.0`'
    )
    assert running.state == 'done', running.error
    assert (not_asked.result or {})['error_id'] == 'version-path'
    assert '--allow-downgrade' in str(not_asked.error)
    assert asked.state == 'done', asked.error
    assert site.images() == ['1.1.0', '1.2.0']


def test_what_only_the_other_node_runs_is_taken_up_whatever_its_age(site: Site) -> None:
    site.has('1.1.0', '1.2.0')
    site.runs('1.2.0')
    with site.operated.database.write() as session:
        node, old = session.get_one(Node, 'mn2'), session.get_one(Image, '1.1.0')
        node.running_version, node.running_digest = old.version, old.digest
    site.forget('1.1.0')

    assert site.asked('image-adopt', version='1.1.0').state == 'done'


def test_another_image_with_the_version_that_runs_is_not_taken_for_it(site: Site) -> None:
    site.has('1.1.0')
    site.runs('1.1.0')
    site.forget('1.1.0')
    with site.operated.database.write() as session:
        for node in session.scalars(select(Node)):
            node.running_digest = 'c' * 64
    site.running = ('1.1.0', 'c' * 64)

    request = site.asked('image-adopt', version='1.1.0')

    assert (request.state, (request.result or {})['error_id']) == ('failed', 'version-taken')
    assert site.images() == []


def test_who_leads_no_more_takes_nothing_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.has('1.1.0')
    site.forget('1.1.0')
    number = site.operated.service().submit('image-adopt', version='1.1.0')
    clerk = site.clerk()

    def lost(*_: object, **__: object) -> NoReturn:
        raise LeaseLost('this node does not lead any more')

    with monkeypatch.context() as patched:
        patched.setattr(clerk.images, '_progress', lost)
        assert clerk.step()
        clerk.join(30)

    assert site.images() == []
    assert site.operated.requests()[number - 1].state == 'running'
    again = site.clerk()
    again.step()
    again.join(30)
    assert site.operated.requests()[number - 1].state == 'done'
    assert site.images() == ['1.1.0']


# Deletions.


def test_an_unknown_image_is_deleted_with_its_note(site: Site) -> None:
    site.has('1.1.0', '1.2.0')
    site.forget('1.1.0')

    request = site.asked('image-delete', versions=['1.1.0'])

    assert request.state == 'done', request.error
    assert site.folders() == ['hmp_image/1.2.0', 'mgmt_image/1.2.0']
    (event,) = [e for e in site.operated.service().journal(kind='image', limit=9) if 'deleted' in (e.detail or '')]
    assert (event.detail, event.actor) == ('image 1.1.0, which the database did not know, was deleted', 'otto')


@pytest.mark.parametrize('digest', ['known', 'not known'])
def test_an_unknown_image_that_a_node_runs_is_not_deleted(site: Site, digest: str) -> None:
    site.has('1.1.0')
    site.runs('1.1.0')
    site.forget('1.1.0')
    if digest == 'not known':
        with site.operated.database.write() as session:
            for node in session.scalars(select(Node)):
                node.running_digest = None

    request = site.asked('image-delete', versions=['1.1.0'])

    assert (request.result or {})['error_id'] == 'image-kept'
    assert 'image 1.1.0 stays: mn1 and mn2 run it' in str(request.error)
    assert site.note('1.1.0').exists()


class Died(BaseException):
    """The process is killed; nothing of it goes on."""


STEPS = ['before the note', 'after the note', 'before the commit', 'after the commit', 'between the folders']


@pytest.mark.parametrize('what', ['deletion', 'retention', 'deletion of an unknown one'])
@pytest.mark.parametrize('step', STEPS)
def test_a_deletion_that_dies_leaves_no_note_without_a_row(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str, what: str
) -> None:
    site.has(*VERSIONS)
    if what == 'deletion of an unknown one':
        site.forget('1.1.0')
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nkeep = 2\n')
    images = site.clerk().images

    with monkeypatch.context() as patched:
        _dies(patched, step, images)
        with pytest.raises(Died):
            _delete(images, what)

    known, noted = site.images(), [version for version in VERSIONS if site.note(version).exists()]
    rowless = what == 'deletion of an unknown one'
    assert ('1.1.0' in noted) is (step == 'before the note')
    assert ('1.1.0' in known) is (not rowless and step in STEPS[:3])
    assert rowless or set(noted) <= set(known)

    # Who comes next makes good what was begun: by the same request, or by the next download.
    if rowless and step == 'before the note':
        assert site.unknown() == ['1.1.0']
    site.operated.configure('mn1', f'key_folder = {site.folder / "keys"}\nkeep = 9\n')
    site.make('1.4.0')
    site.has('1.4.0')
    there = '1.1.0' in known or (rowless and step == 'before the note')
    assert ('mgmt_image/1.1.0' in site.folders()) is there
    assert ('hmp_image/1.1.0' in site.folders()) is there
    assert site.note('1.1.0').exists() is there
    _delete(site.clerk().images, 'deletion')
    assert not any('1.1.0' in folder for folder in site.folders())
    assert '1.1.0' not in site.images()


def _delete(images: Any, what: str) -> None:
    if what == 'retention':
        assert images.retain(3) == ['1.1.0']
    else:
        images.delete(3, 1, ['1.1.0'], 'otto')


def _dies(patched: pytest.MonkeyPatch, step: str, images: Any) -> None:
    def dies(*_: object, **__: object) -> NoReturn:
        raise Died

    def after(work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **kwargs: Any) -> NoReturn:
            work(*args, **kwargs)
            raise Died

        return done

    if step == 'before the note':
        patched.setattr(note, 'remove', dies)
    elif step == 'after the note':
        patched.setattr(note, 'remove', after(note.remove))
    elif step == 'before the commit':
        patched.setattr(images.lease, 'fenced', dies)
    elif step == 'after the commit':
        patched.setattr(Store, 'remove', dies)
    else:
        moves, rename = itertools.count(), Path.rename

        def counted(path: Path, target: Path) -> Path:
            if next(moves) == 1:
                raise Died
            return rename(path, target)

        patched.setattr(Path, 'rename', counted)


# What may lie in the place of a note.


def _odd_folder(path: Path, elsewhere: Path) -> None:
    (path / 'in it').mkdir(parents=True)


def _odd_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def _odd_link_to_nothing(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere.with_name('nothing'))


def _odd_pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


def _odd_size(path: Path, elsewhere: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def _odd_text(path: Path, elsewhere: Path) -> None:
    path.write_bytes(b'{"version": "1.1.0", "source": "\xff')


def _odd_types(path: Path, elsewhere: Path) -> None:
    path.write_text('{"version": 1, "source": ["x"]}')


def _odd_control(path: Path, elsewhere: Path) -> None:
    path.write_text(json.dumps({'version': '1.1.0', 'source': '\x1b[2J'}))


def _odd_address(path: Path, elsewhere: Path) -> None:
    path.write_text(json.dumps({'version': '1.1.0', 'source': 'https://[::1/x.zip'}))


def _odd_length(path: Path, elsewhere: Path) -> None:
    path.write_text(json.dumps({'version': '1.1.0', 'source': 'https://example.com/' + 'x' * 60_000}))


def _odd_depth(path: Path, elsewhere: Path) -> None:
    path.write_text('[' * 60_000)


@pytest.mark.parametrize(
    'odd',
    [
        _odd_folder,
        _odd_link,
        _odd_link_to_nothing,
        _odd_pipe,
        _odd_size,
        _odd_text,
        _odd_types,
        _odd_control,
        _odd_address,
        _odd_length,
        _odd_depth,
    ],
)
@pytest.mark.parametrize('then', ['image-adopt', 'image-delete'])
def test_whatever_lies_in_the_place_of_a_note_keeps_the_image_and_is_not_followed(
    site: Site, odd: Callable[[Path, Path], None], then: str
) -> None:
    site.has('1.1.0')
    site.forget('1.1.0')
    elsewhere = site.folder / 'precious.json'
    elsewhere.write_text('{"version": "1.1.0", "source": "https://example.com/precious"}')
    site.note('1.1.0').unlink()
    odd(site.note('1.1.0'), elsewhere)

    site.has('1.2.0')

    assert 'mgmt_image/1.1.0' in site.folders()
    assert site.check('unknown-images')['unknown-images'].facts['versions'] == ['1.1.0']
    request = site.asked(then, **({'version': '1.1.0'} if then == 'image-adopt' else {'versions': ['1.1.0']}))
    assert request.state == 'done', request.error
    assert elsewhere.read_text() == '{"version": "1.1.0", "source": "https://example.com/precious"}'
    if then == 'image-adopt':
        assert stat.S_ISREG(site.note('1.1.0').lstat().st_mode)
        assert json.loads(site.note('1.1.0').read_text())['version'] == '1.1.0'
        assert site.operated.service().image('1.1.0').source == str(site.note('1.1.0').parent)
    else:
        assert '1.1.0' not in str(site.folders())


def test_of_very_many_unknown_images_a_few_are_named(site: Site) -> None:
    for number in range(300):
        site.note(f'1.0.{number}').parent.mkdir(parents=True)
        site.note(f'1.0.{number}').touch()

    site.has('1.1.0')

    (told,) = [detail for detail in site.journal() if 'does not know' in detail]
    assert told.startswith('images 1.0.290, 1.0.291, ')
    assert ', 1.0.299 and 290 more lie on the shared storage' in told
    assert '`ovca image-adopt 1.0.290 1.0.291 ' in told
    assert len(told) < 500


def test_a_linked_folder_gets_no_note_in_the_place_that_it_leads_to(site: Site) -> None:
    site.has('1.1.0')
    folder, moved = site.note('1.1.0').parent, site.folder / 'moved'
    site.note('1.1.0').unlink()
    folder.rename(moved)
    folder.symlink_to(moved)

    site.has('1.2.0')

    assert not (moved / 'published.json').exists()


def test_a_link_in_the_place_of_a_folder_is_removed_and_what_it_leads_to_stays(site: Site) -> None:
    site.has('1.1.0', '1.2.0')
    site.forget('1.1.0', '1.2.0')
    for version in ('1.1.0', '1.2.0'):
        folder = site.note(version).parent
        folder.rename(site.folder / f'moved-{version}')
        folder.symlink_to(site.folder / f'moved-{version}')

    deleted = site.asked('image-delete', versions=['1.2.0'])
    site.has('1.3.0')

    assert deleted.state == 'done', deleted.error
    assert site.folders() == ['hmp_image/1.3.0', 'mgmt_image/1.3.0']
    for version in ('1.1.0', '1.2.0'):
        assert (site.folder / f'moved-{version}/published.json').exists()
        assert (site.folder / f'moved-{version}/tree/usr/file1').exists()


def test_an_image_whose_folders_are_lost_is_fetched_again(site: Site) -> None:
    site.has('1.1.0')
    before = site.operated.rows()['image']
    for part in ('mgmt', 'hmp'):
        shutil.rmtree(site.shared / f'{part}_image/1.1.0')

    request = site.download('1.1.0')

    assert request.state == 'done', request.error
    assert site.operated.rows()['image'] == before
    assert site.check('image', version='1.1.0')['image'].result is Result.PASSED
    assert site.note('1.1.0').exists()
    assert site.journal()[-1] == 'image 1.1.0 was fetched again, as its folder was gone'


def test_another_image_in_the_place_of_one_whose_folders_are_lost_is_refused(site: Site) -> None:
    site.has('1.1.0')
    before = site.operated.rows()['image']
    for part in ('mgmt', 'hmp'):
        shutil.rmtree(site.shared / f'{part}_image/1.1.0')
    site.make('1.1.0', text='-other').rename(site.uri('1.1.0'))

    request = site.download('1.1.0')

    assert (request.state, (request.result or {})['error_id']) == ('failed', 'version-taken')
    assert (site.operated.rows()['image'], site.folders()) == (before, [])


def test_the_image_that_runs_is_fetched_again_when_it_is_lost(site: Site) -> None:
    site.has('1.1.0')
    site.runs('1.1.0')
    here = site.download('1.1.0')
    for part in ('mgmt', 'hmp'):
        shutil.rmtree(site.shared / f'{part}_image/1.1.0')
    site.forget('1.1.0')

    lost = site.download('1.1.0')

    assert '1.1.0 is installed already; there is nothing to do' in str(here.error)
    assert lost.state == 'done', lost.error
    assert site.operated.service().image('1.1.0').runs_on == ('mn1', 'mn2')
