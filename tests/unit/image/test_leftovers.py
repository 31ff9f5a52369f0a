"""What downloads have left, and who removes it: the next cleaning, a deletion, or the next download of the same URI."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ovca.exceptions import DatabaseUnavailable, ImageError
from ovca.exceptions import Refused as Forbidden
from ovca.image import Manifest, Store, verify
from ovca.image.build import build, keygen
from ovca.image.channel import ChannelError
from ovca.image.errors import UNTRUSTED, AlreadyPublished, Cancelled, StorageFailed
from ovca.image.fetch import fetcher

from .breaks import child, left, parts
from .conftest import STEP, Get
from .fetch.peers import Origin, serving

WEEK = 7 * 86400
OLD, NEW = 5 * STEP, 3 * STEP
"""Bytes of the two versions."""


@dataclass(frozen=True)
class Vendor:
    """Bundles of two versions, signed by two keys of one folder."""

    keys: Path
    old: bytes
    new: bytes


@pytest.fixture(scope='module')
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    folder = tmp_path_factory.mktemp('vendor')
    (folder / 'tree').mkdir()
    for version, size in (('1.1.0', OLD), ('1.2.0', NEW)):
        (folder / 'tree/data').write_bytes(random.Random(version).randbytes(size))
        secret, _ = keygen(folder / 'keys', f'of-{version}')
        bundle = folder / f'{version}.zip'
        build(bundle, version=version, mgmt=folder / 'tree', secret_key=secret, level=1, restart_step=STEP)
    return Vendor(folder / 'keys', (folder / '1.1.0.zip').read_bytes(), (folder / '1.2.0.zip').read_bytes())


@pytest.fixture
def origin(vendor: Vendor, conf: Any, tmp_path: Path) -> Iterator[Origin]:
    """A server that gives ranges, and has the older version."""
    for key in vendor.keys.glob('*.pub'):
        (tmp_path / 'keys').mkdir(exist_ok=True)
        (tmp_path / 'keys' / key.name).write_bytes(key.read_bytes())
    with serving(Origin()) as server:
        server.content, server.headers = vendor.old, {'Accept-Ranges': 'bytes'}
        yield server


def killed(conf: Any, origin: Origin) -> None:
    """A download dies when its image is in place; tests say whether its row was written before."""
    done = subprocess.run(child(conf, origin, stage='commit'), check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def lost(_: object) -> None:
    raise DatabaseUnavailable('the answer was lost; try again')


def published(get: Get, origin: Origin) -> None:
    """A download that does not learn that its row was written leaves what one leaves that dies then."""
    with pytest.raises(DatabaseUnavailable):
        get(origin.uri, commit=lost)


def kept(store: Store) -> list[str]:
    return sorted(path.suffix for path in (*store.staging.glob('*.part*'), *store.staging.glob('*.iso*')))


# Of a published image.


@pytest.mark.parametrize('cleaned', [False, True])
def test_a_deletion_gives_back_the_room_although_the_download_was_killed_behind_its_row(
    store: Store, conf: Any, origin: Origin, cleaned: bool
) -> None:
    killed(conf, origin)
    iso = store.iso_path('1.1.0')
    assert iso.stat().st_nlink == 2
    if cleaned:
        store.clean(['1.1.0'])
        assert iso.stat().st_nlink == 1

    with iso.open('rb') as stream:
        with store.lock():
            store.remove('1.1.0')

        assert os.fstat(stream.fileno()).st_nlink == 0
    assert sum(path.stat().st_blocks * 512 for path in store.root.rglob('*') if path.is_file()) < STEP


def test_cleaning_takes_the_second_name_of_a_published_iso_only(get: Get, store: Store, origin: Origin) -> None:
    published(get, origin)
    origin.requests.clear()

    assert store.clean(['1.1.0']) == []

    assert left(store) == 0
    assert verify(store, '1.1.0') == []
    # The first members are left: whoever takes the request up needs no server to see that the image is there.
    origin.statuses = [(503, {})] * 9
    with pytest.raises(AlreadyPublished):
        get(origin.uri)


def test_what_has_no_row_yet_is_not_touched_by_the_deletion_of_another_image(
    get: Get, store: Store, origin: Origin, vendor: Vendor
) -> None:
    get(origin.uri)
    origin.content, origin.etag = vendor.new, '"two"'
    published(get, origin)
    there = left(store)
    assert there > NEW

    with store.lock():
        store.remove('1.1.0')

    assert left(store) == there
    store.clean([])
    assert get(origin.uri).version == '1.2.0'
    assert origin.asked()[-1] not in (None, 'bytes=0-')


def test_nobody_cleans_while_a_download_publishes(get: Get, store: Store, origin: Origin) -> None:
    code = f'import sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\nfrom ovca.image import Store\n'
    code += f'Store(Path({str(store.root)!r})).clean(["1.1.0"])'
    there: list[int] = []

    def commit(_: object) -> None:
        other = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False, timeout=60)
        assert 'DownloadRunning' in other.stderr
        there.append(left(store))

    get(origin.uri, commit=commit)

    assert there == [store.iso_path('1.1.0').stat().st_size]
    assert kept(store) == []


def test_who_asks_for_a_published_image_again_leaves_nothing(get: Get, store: Store, origin: Origin) -> None:
    get(origin.uri)

    with pytest.raises(AlreadyPublished):
        get(origin.uri)

    assert kept(store) == []


# What is old, and what is no file.


def test_what_nobody_takes_up_is_removed_after_a_week(get: Get, store: Store, origin: Origin) -> None:
    with pytest.raises(Refused):
        get(origin.uri, commit=refuse)
    files = [*store.staging.glob('*.part*'), *store.staging.glob('*.iso*')]
    assert len(files) == 4
    store.clean([])
    assert all(path.exists() for path in files)
    for path in files:
        os.utime(path, (time.time() - WEEK - 86400,) * 2)
    os.utime(next(store.staging.glob('*.iso')))  # it grew until now, as it came very slowly
    store.clean([])
    assert all(path.exists() for path in files)
    os.utime(next(store.staging.glob('*.iso')), (time.time() - WEEK - 86400,) * 2)

    store.clean([])

    assert not any(path.exists() for path in files)


@pytest.mark.parametrize('kind', ['folder', 'old folder', 'link to nothing'])
def test_what_is_no_file_is_cleared_away(get: Get, store: Store, conf: Any, origin: Origin, kind: str) -> None:
    name = fetcher(origin.uri, conf).uri_digest[:16]
    paths = [store.staging / f'{name}.{suffix}' for suffix in ('part', 'part.json', 'iso', 'iso.json')]
    store.staging.mkdir()
    for path in paths:
        if kind == 'link to nothing':
            path.symlink_to(store.root / 'nothing')
        else:
            path.mkdir()
            (path / 'file').touch()
        if kind == 'old folder':
            os.utime(path, (time.time() - WEEK - 86400,) * 2)

    assert store.clean([]) == []

    assert kept(store) == []
    assert get(origin.uri).version == '1.1.0'


def test_what_cannot_be_cleared_away_is_told_in_a_sentence(
    store: Store, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.staging / 'x.iso').mkdir(parents=True)

    def held(*_: object, **__: object) -> None:
        raise OSError(16, 'Device or resource busy')

    monkeypatch.setattr('shutil.rmtree', held)

    with pytest.raises(StorageFailed, match='Device or resource busy; see to the storage'):
        store.clean([])


# Of a source that holds something else by now.


class Refused(ImageError):
    """Somebody does not want it."""


def refuse(_: object) -> None:
    raise Refused('not now')


def for_ever(manifest: Manifest) -> None:
    """Refuse the older version."""
    if manifest.version == '1.1.0':
        raise Forbidden('it is older than what runs', id='version-path')


def differs(manifest: Manifest) -> None:
    """Refuse the older version, as a channel does that offers the newer one."""
    if manifest.version == '1.1.0':
        raise ChannelError('the bundle', 'it holds version 1.1.0; tell the vendor', id='channel-differs')


def anybody(_: object) -> None:
    return None


def revoke(conf: Any) -> None:
    folder = Path(conf.image.key_folder)
    (folder / 'revoked').write_text((folder / 'of-1.1.0.pub').read_text().splitlines()[1])


@pytest.mark.parametrize(
    'why', ['published', 'forbidden', 'another than offered', 'revoked', 'by an unknown key', 'too large']
)
def test_what_was_kept_of_an_older_version_is_not_judged_in_place_of_the_newer_one(
    get: Get, store: Store, conf: Any, origin: Origin, vendor: Vendor, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == 'published':
        published(get, origin)
        store.clean(['1.1.0'])
    else:
        with pytest.raises(Refused):
            get(origin.uri, accept=refuse)
    assert len(parts(store)) == 1
    origin.content, origin.etag = vendor.new, '"two"'
    accept = {'forbidden': for_ever, 'another than offered': differs}.get(why, anybody)
    if why == 'revoked':
        revoke(conf)
    if why == 'by an unknown key':
        (Path(conf.image.key_folder) / 'of-1.1.0.pub').unlink()
    if why == 'too large':
        free = shutil.disk_usage(store.root)._replace(free=OLD + NEW)  # an image needs room for its ISO and its trees
        monkeypatch.setattr('shutil.disk_usage', lambda _: free)
    told: list[str] = []
    lengths: list[int] = []

    def commit(_: object) -> None:
        lengths.extend(path.stat().st_size for path in parts(store))

    assert get(origin.uri, accept=accept, notice=told.append, commit=commit).version == '1.2.0'

    assert verify(store, '1.2.0') == []
    assert kept(store) == []
    assert any('has changed since a part of it was received' in text for text in told)
    assert 0 < max(lengths) < len(vendor.new) / 2  # the ISO was kept, not the bundle


@pytest.mark.parametrize('server', ['the same', 'silent', 'without it'])
def test_what_is_still_so_or_cannot_be_asked_is_refused_and_kept(
    get: Get, store: Store, origin: Origin, server: str
) -> None:
    with pytest.raises(Refused):
        get(origin.uri, commit=refuse)
    there = left(store)
    assert there > OLD
    origin.statuses = {'the same': [], 'silent': [(503, {})] * 9, 'without it': [(404, {})] * 9}[server]

    with pytest.raises(Forbidden) as caught:
        get(origin.uri, accept=for_ever)

    assert caught.value.id == 'version-path'
    assert left(store) == there
    origin.statuses = []
    assert get(origin.uri).version == '1.1.0'
    assert origin.asked()[-1] not in (None, 'bytes=0-')


@pytest.mark.parametrize('why', ['revoked', 'by an unknown key'])
def test_a_signature_that_is_refused_is_told_although_the_source_does_not_answer(
    get: Get, conf: Any, origin: Origin, why: str
) -> None:
    with pytest.raises(Refused):
        get(origin.uri, commit=refuse)
    if why == 'revoked':
        revoke(conf)
    else:
        (Path(conf.image.key_folder) / 'of-1.1.0.pub').unlink()
    origin.statuses, conf.update.attempts = [(503, {})] * 9, 1

    with pytest.raises(UNTRUSTED) as caught:
        get(origin.uri)

    assert caught.value.id == ('key-revoked' if why == 'revoked' else 'wrong-signature')


def test_a_download_stops_at_once_also_while_a_silent_source_is_asked_whether_it_has_changed(
    get: Get, conf: Any, store: Store, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused):
        get(origin.uri, commit=refuse)
    there, asked, over, judged = left(store), threading.Event(), threading.Event(), threading.Event()

    class Silent(origin.RequestHandlerClass):  # type: ignore[name-defined, misc]
        def do_GET(self) -> None:
            asked.set()
            over.wait(20)

    def judge(_: Manifest) -> None:
        judged.set()
        raise Refused('not now')

    origin.RequestHandlerClass = Silent
    monkeypatch.setattr('ovca.image.flow.LEAVE', 0.1)

    with pytest.raises(Cancelled):
        get(origin.uri, accept=judge, cancelled=lambda: judged.is_set() and asked.is_set())

    over.set()
    assert left(store) == there
    assert len(parts(store)) == 1
