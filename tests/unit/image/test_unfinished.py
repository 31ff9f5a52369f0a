"""A bundle that can be inflated from its middle: its ISO is kept, not its bytes, and gone on with after a break."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ovca.exceptions import DatabaseUnavailable, ImageError
from ovca.image import Progress, Store, verify
from ovca.image.errors import AlreadyPublished, Cancelled
from ovca.image.fetch import held
from ovca.image.fetch.connections import Connections, Trial
from ovca.image.restarts import KIND, Restarts

from .breaks import MEGABYTE, child, left, parts, stopped
from .conftest import SIZE, STEP, Get, iso_of
from .fetch.peers import Nginx, Origin, serving, wait_for


@pytest.fixture
def origin(stock: tuple[Path, bytes], conf: Any) -> Iterator[Origin]:
    """A server that says that it gives ranges."""
    conf.image.key_folder = str(stock[0])
    with serving(Origin()) as server:
        server.content, server.headers = stock[1], {'Accept-Ranges': 'bytes'}
        yield server


def begun(origin: Origin) -> int:
    """Where the last request began."""
    asked = origin.asked()[-1]
    return int(asked.removeprefix('bytes=').rstrip('-')) if asked else 0


def place(raw: bytes, there: int) -> int:
    """Where in the bundle it goes on when so many bytes of the ISO are there."""
    bundle, member = iso_of(raw)
    assert member.restarts is not None
    return bundle.position + member.restarts.before(there)[1]


@pytest.fixture
def another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on it is another machine, or the same after a power loss: only what was synced can be believed."""

    def become() -> None:
        (tmp_path / 'boot_id').write_text('another\n')
        monkeypatch.setattr(held, 'BOOT_ID', tmp_path / 'boot_id')

    return become


def test_while_all_goes_well_only_the_first_members_are_kept(get: Get, store: Store, origin: Origin) -> None:
    lengths: list[int] = []

    def commit(_: object) -> None:
        lengths.extend(path.stat().st_size for path in parts(store))

    get(origin.uri, commit=commit)

    assert verify(store, '1.1.0') == []
    assert store.iso_path('1.1.0').stat().st_mode & 0o777 == 0o644
    assert 0 < lengths[0] < len(origin.content) / 2
    assert list(store.staging.glob('*.part*')) == list(store.staging.glob('*.iso*')) == []
    assert origin.sent == len(origin.content)


def test_the_bundle_itself_needs_no_room(
    get: Get, store: Store, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[int] = []
    monkeypatch.setattr(Store, 'need', lambda self, size: wanted.append(size))

    get(origin.uri)

    published = store.iso_path('1.1.0').stat().st_size + SIZE * MEGABYTE
    assert max(wanted) == published


def test_a_dropped_connection_is_taken_up_at_the_next_byte(get: Get, store: Store, origin: Origin) -> None:
    origin.cuts = [MEGABYTE, 2 * MEGABYTE, 50_000]

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert len(origin.requests) == 4
    assert origin.sent < len(origin.content) + 4 * 16 * 1024


def test_what_was_stopped_goes_on_where_the_iso_ends(get: Get, store: Store, origin: Origin) -> None:
    told: list[Progress] = []
    stopped(get, store, origin)
    there = left(store)

    get(origin.uri, progress=told.append)

    assert verify(store, '1.1.0') == []
    assert begun(origin) == place(origin.content, there)
    # What is there already counts as done.
    assert all(made.done >= begun(origin) / 2 for made in told if made.stage == 'download')
    assert max(made.done for made in told if made.stage == 'download') == len(origin.content)


@pytest.mark.parametrize('stage', ['unpack', 'publish', 'commit'])
def test_a_kill_after_the_last_byte_costs_no_second_reception(
    get: Get, store: Store, conf: Any, origin: Origin, stage: str
) -> None:
    done = subprocess.run(child(conf, origin, stage=stage), check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    sent = origin.sent

    store.clean([])
    assert list(store.root.glob('*_image/*')) == []
    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert origin.sent - sent <= 2 * STEP


def test_a_disk_that_is_full_costs_nothing_of_what_is_there(get: Get, store: Store, conf: Any, origin: Origin) -> None:
    limit = SIZE * MEGABYTE // 2
    done = subprocess.run(child(conf, origin, limit=limit), check=False, timeout=60, capture_output=True, text=True)
    assert 'written' in done.stdout or 'space' in done.stdout, done.stderr
    assert 'Traceback' not in done.stderr
    assert left(store) > limit - MEGABYTE

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert begun(origin) > len(origin.content) / 3


def test_killed_at_any_moment_it_goes_on(get: Get, store: Store, conf: Any, origin: Origin) -> None:
    origin.rate = 8 * MEGABYTE
    for seconds in (0.05, 0.31, 0.17):
        before = left(store)
        with subprocess.Popen(child(conf, origin)) as process:
            wait_for(partial(grows, store, before))
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)

    origin.rate = None
    get(origin.uri)

    assert verify(store, '1.1.0') == []
    starts = [0, *(int(asked.removeprefix('bytes=').rstrip('-')) for asked in origin.asked()[1:] if asked)]
    assert len(starts) == 4
    # Each time it went on behind where it had begun.
    assert starts == sorted(set(starts))


def grows(store: Store, before: int) -> bool:
    return left(store) > before


def test_after_a_power_loss_only_what_was_synced_is_believed(
    get: Get, store: Store, origin: Origin, another_node: Callable[[], None]
) -> None:
    stopped(get, store, origin)
    there = left(store)
    with next(store.staging.glob('*.iso')).open('ab') as stream:
        stream.write(bytes(MEGABYTE))  # the length reached the disk, the data did not
    another_node()

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert begun(origin) == place(origin.content, there)
    assert len(origin.requests) == 2


@pytest.mark.parametrize('connections', [1, 4])
def test_nginx_is_taken_up_where_the_iso_ends(
    get: Get,
    store: Store,
    conf: Any,
    stock: tuple[Path, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    connections: int,
) -> None:
    monkeypatch.setattr(Connections, 'trial', Trial(settle=0.05, measure=0.2, range=0.1, worth=0.2))
    conf.image.key_folder, conf.update.connections = str(stock[0]), connections
    server = Nginx(tmp_path / 'nginx', 'limit_rate 2m;')  # of each connection
    (server.www / 'image').write_bytes(stock[1])
    server.run()
    try:
        with pytest.raises(Cancelled):
            get(server.uri, cancelled=lambda: left(store) >= SIZE * MEGABYTE * 2 / 3)
        there, before = left(store), server.seen()

        get(server.uri)
    finally:
        server.stop()

    assert verify(store, '1.1.0') == []
    several = [line for line in before.splitlines() if 'bytes=' in line]
    assert bool(several) == (connections > 1)
    assert f'"bytes={place(stock[1], there)}-"' in server.seen().removeprefix(before)


class Refused(ImageError):
    """Somebody does not want it."""


def refuse(_: object) -> None:
    raise Refused('not now')


@pytest.mark.parametrize('node', ['the same', 'another'])
def test_an_image_that_is_not_committed_is_not_received_again(
    get: Get, store: Store, origin: Origin, another_node: Callable[[], None], node: str
) -> None:
    with pytest.raises(Refused):
        get(origin.uri, commit=refuse)
    sent = origin.sent
    assert list(store.root.glob('*_image/*')) == []
    if node == 'another':
        another_node()

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert origin.sent - sent <= 2 * STEP


def test_what_a_download_has_published_is_not_touched_by_the_next(
    get: Get, store: Store, origin: Origin, another_node: Callable[[], None]
) -> None:
    def lost(_: object) -> None:
        raise DatabaseUnavailable('the answer was lost; try again')

    with pytest.raises(DatabaseUnavailable):
        get(origin.uri, commit=lost)
    store.clean(['1.1.0'])  # its row is there
    another_node()  # which believes what was synced, and nothing more

    with pytest.raises(AlreadyPublished):
        get(origin.uri)

    assert verify(store, '1.1.0') == []


def test_taken_up_by_another_node_and_killed_it_goes_on_there(
    get: Get, store: Store, conf: Any, origin: Origin
) -> None:
    stopped(get, store, origin)
    note = next(store.staging.glob('*.iso.json'))
    note.write_text(json.dumps({**json.loads(note.read_bytes()), 'boot': 'of the other node'}))
    before, origin.rate = left(store), 4 * MEGABYTE
    with subprocess.Popen(child(conf, origin)) as process:
        wait_for(partial(grows, store, before + 2 * MEGABYTE))
        process.send_signal(signal.SIGKILL)
    there, origin.rate = left(store), None

    get(origin.uri)

    assert begun(origin) == place(origin.content, there)


@pytest.mark.parametrize('after', ['a refusal', 'a power loss'])
def test_what_was_begun_needs_no_more_room_later(
    get: Get,
    store: Store,
    origin: Origin,
    another_node: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    after: str,
) -> None:
    if after == 'a refusal':
        with pytest.raises(Refused):
            get(origin.uri, accept=refuse)
    else:
        stopped(get, store, origin)
        note = next(store.staging.glob('*.iso.json'))
        note.write_text(json.dumps({**json.loads(note.read_bytes()), 'synced': 0}))
        another_node()
    wanted: list[int] = []
    monkeypatch.setattr(Store, 'need', lambda self, size: wanted.append(size))

    get(origin.uri)

    assert max(wanted) == store.iso_path('1.1.0').stat().st_size + SIZE * MEGABYTE


def test_a_length_that_is_told_later_changes_nothing(get: Get, store: Store, origin: Origin) -> None:
    origin.headers = {'Accept-Ranges': 'bytes', 'Content-Length': '', 'Connection': 'close'}
    stopped(get, store, origin)
    origin.headers = {'Accept-Ranges': 'bytes'}
    origin.rate = 4 * MEGABYTE
    with pytest.raises(Cancelled):
        get(origin.uri, cancelled=lambda: left(store) >= SIZE * MEGABYTE / 2)
    there, origin.rate = left(store), None

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert begun(origin) == place(origin.content, there)


# What cannot be gone on with.


def test_a_server_that_does_not_say_that_it_gives_ranges_is_not_relied_on(
    get: Get, store: Store, origin: Origin
) -> None:
    origin.headers = {}
    origin.cuts = [2 * MEGABYTE]
    lengths: list[int] = []

    get(origin.uri, commit=lambda _: lengths.extend(path.stat().st_size for path in parts(store)))

    assert verify(store, '1.1.0') == []
    assert lengths == [len(origin.content)]


def test_a_server_that_gives_no_ranges_after_all_costs_a_second_reception(
    get: Get, store: Store, origin: Origin
) -> None:
    origin.ranges = False
    origin.cuts = [3 * MEGABYTE, len(origin.content), 2 * MEGABYTE]
    told: list[str] = []

    get(origin.uri, notice=told.append)

    assert verify(store, '1.1.0') == []
    assert any('no ranges, although it said so; it is fetched anew' in text for text in told)
    assert not any('has changed' in text for text in told)
    # Once: from then on each byte is kept, and compared.
    assert any('are compared' in text for text in told)


def test_a_source_that_changed_is_begun_anew(get: Get, store: Store, origin: Origin) -> None:
    stopped(get, store, origin)
    origin.etag = '"two"'
    told: list[str] = []
    lengths: list[int] = []

    get(origin.uri, notice=told.append, commit=lambda _: lengths.extend(p.stat().st_size for p in parts(store)))

    assert verify(store, '1.1.0') == []
    assert any('has changed' in text for text in told)
    assert origin.asked()[-1] is None
    assert 0 < lengths[0] < len(origin.content) / 2  # the server is as good as before


@pytest.mark.parametrize(
    'what', ['a byte of the ISO', 'its end', 'a link in its place', 'the note', 'the part', 'the first members']
)
def test_what_was_damaged_meanwhile_is_fetched_anew(get: Get, store: Store, origin: Origin, what: str) -> None:
    stopped(get, store, origin)
    iso, part = next(store.staging.glob('*.iso')), next(store.staging.glob('*.part'))
    match what:
        case 'a byte of the ISO':
            with iso.open('r+b') as stream:
                stream.seek(MEGABYTE)
                stream.write(b'other')
        case 'its end':
            os.truncate(iso, 100)
        case 'a link in its place':
            iso.rename(iso.with_name('elsewhere'))
            iso.symlink_to(iso.with_name('elsewhere'))
        case 'the note':
            iso.with_name(f'{iso.name}.json').write_text('{')
        case 'the part':
            part.unlink()
        case 'the first members':
            os.truncate(part, 300)

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert list(store.staging.glob('*.part*')) == list(store.staging.glob('*.iso*')) == []
    assert not store.iso_path('1.1.0').is_symlink()


def test_places_that_lie_cost_a_second_reception_and_nothing_else(get: Get, store: Store, origin: Origin) -> None:
    restarts = iso_of(origin.content)[1].restarts
    assert restarts is not None
    true = restarts.field()
    assert true[:2] == KIND.to_bytes(2, 'little')
    lie = Restarts(restarts.step, tuple(place + 1 for place in restarts.packed)).field()
    assert origin.content.count(true) == 1
    origin.content = origin.content.replace(true, lie)
    stopped(get, store, origin)

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert origin.asked()[-1] is None


def test_a_file_system_without_hard_links_gets_the_iso_by_its_name(
    get: Get, store: Store, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', refused)

    get(origin.uri)

    assert verify(store, '1.1.0') == []
    assert store.iso_path('1.1.0').stat().st_mode & 0o777 == 0o644
