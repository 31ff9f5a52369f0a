"""A shared storage that is full, read-only, without locks, or shows what is no image: the store says so, or copes."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ovca.image import Store, verify
from ovca.image.errors import StorageFailed

from .conftest import Get

LOOK = """
import sys
sys.path[:0] = {!r}
from pathlib import Path
from ovca.image import Store
print(Store(Path({!r})).lock_holder())
"""
"""Only another process can see who holds the lock."""


def fill(folder: Path) -> None:
    """Make files until the storage takes no more of them."""
    (folder / 'others').mkdir()
    with pytest.raises(OSError, match='No space left'):
        for number in range(2000):
            (folder / 'others' / str(number)).touch()


def test_an_image_is_removed_from_a_storage_that_takes_no_file_any_more(
    get: Get, small_disk: Path, conf: Any, bundle: Path
) -> None:
    store = Store.from_conf(conf)
    get(bundle, store=store)
    (store.staging / 'lock.owner').unlink()
    fill(small_disk)

    with store.lock():
        holder = subprocess.run(
            [sys.executable, '-c', LOOK.format(sys.path, str(small_disk))], capture_output=True, text=True, check=True
        )
        store.remove('1.1.0')

    assert holder.stdout == "Holder(owner='its owner is not known', node='', since=None)\n", holder.stderr
    assert store.versions() == []
    assert sorted(path.name for path in store.staging.iterdir()) == ['lock']
    (small_disk / 'room').touch()


def test_a_full_storage_ends_a_download_in_one_sentence_and_tells_who_holds_the_images(
    get: Get, small_disk: Path, conf: Any, bundle: Path
) -> None:
    with Store.from_conf(conf, owner='request 1 on mn1').lock():
        pass
    fill(small_disk)
    store = Store.from_conf(conf, owner='request 2 on mn2')

    with pytest.raises(StorageFailed, match='No space left on device; see to the storage'):
        get(bundle, store=store)

    assert (store.staging / 'lock.owner').read_text().startswith('request 2 on mn2, since ')


def test_a_storage_that_is_read_only_is_named_whatever_is_done(
    get: Get, small_disk: Path, conf: Any, bundle: Path
) -> None:
    store = Store.from_conf(conf)
    subprocess.run(['mount', '-o', 'remount,ro', str(small_disk)], check=True)

    for work in (lambda: get(bundle, store=store), lambda: store.clean([])):
        with pytest.raises(StorageFailed, match='Read-only file system; see to the storage'):
            work()


def test_a_storage_without_locks_is_named(
    get: Get, store: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr('fcntl.lockf', refused)

    with pytest.raises(StorageFailed, match='No locks available; see to the storage'):
        get(bundle)


def test_what_no_image_can_be_stays_and_is_none(get: Get, store: Store, bundle: Path) -> None:
    get(bundle)
    for name in ('.snapshot', '.Trash 0', 'a..b', 'Größe'):
        (store.root / 'mgmt_image' / name / 'daily').mkdir(parents=True)

    assert store.versions() == ['1.1.0']
    store.forget(['1.1.0'])
    assert [folder.parent.name for folder in store.clean([])] == ['mgmt_image', 'hmp_image', 'ovm_image']
    assert len(list(store.root.glob('mgmt_image/*/daily'))) == 4


def test_a_storage_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / ('x' * 300))  # a name that no file system takes; a stale NFS mount answers like that

    with pytest.raises(StorageFailed, match='cannot be read: File name too long; see to the storage'):
        store.folders('1.1.0')


def test_a_storage_too_full_for_the_note_has_the_image_and_gets_the_note_later(
    get: Get, small_disk: Path, conf: Any, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.from_conf(conf)

    published = get(bundle, store=store, commit=lambda _: fill(small_disk))

    assert 'that image 1.1.0 was published cannot be noted in' in caplog.text
    assert 'No space left on device; the next download tries again' in caplog.text
    assert verify(store, '1.1.0') == []
    assert store.unknown([]) == []
    assert list(store.mgmt('1.1.0').glob('*published.json*')) == []
    known = {'1.1.0': published.noted()}
    shutil.rmtree(small_disk / 'others')

    assert store.clean(known) == []
    assert store.unknown([]) == ['1.1.0']
    assert verify(store, '1.1.0') == []


def test_what_one_that_died_has_left_of_a_note_goes_with_the_next(get: Get, store: Store, bundle: Path) -> None:
    published = get(bundle)
    store.forget(['1.1.0'])
    (store.mgmt('1.1.0') / '.published.json.0badc0de').touch()

    store.clean({'1.1.0': published.noted()})

    assert [path.name for path in store.mgmt('1.1.0').glob('*published*')] == ['published.json']


def test_unknown_images_are_in_the_order_of_their_versions(store: Store) -> None:
    for version in ('1.10.0', '1.9.0', '1.9.0-rc1', '2.0', '1.2.0'):
        store.mgmt(version).mkdir(parents=True)
        (store.mgmt(version) / 'published.json').touch()

    assert store.unknown(['2.0']) == ['1.2.0', '1.9.0-rc1', '1.9.0', '1.10.0']
    assert store.forget(['1.9.0', '3.0']) == ['1.9.0']
    assert store.unknown([], ['1.9.0', '7.0']) == ['1.2.0', '1.9.0-rc1', '1.9.0', '1.10.0', '2.0']
