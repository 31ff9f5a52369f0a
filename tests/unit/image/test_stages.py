"""The threads of a download: whatever fails in one of them ends all, soon, and leaves no image."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovca.exceptions import FetchError
from ovca.image import Store, deflate, verify
from ovca.image.build import build
from ovca.image.errors import Cancelled, StorageFailed
from ovca.image.fetch.base import Fetcher, FetchOptions, Opened
from ovca.image.flow import TURN, Flow, Pipe, Receiver, Stopped, Times
from ovca.image.kept import Kept

from .conftest import Get, Server

STAGES = ('receive', 'keep', 'inflate', 'hash', 'iso', 'check', 'files')
MEGABYTE = 1024 * 1024

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name in (*STAGES, 'copy')] == []


@pytest.fixture
def large(tmp_path: Path, secret_key: Path) -> Path:
    """A bundle of 12 MB: more than all queues hold."""
    tree = tmp_path / 'large'
    tree.mkdir()
    for number in range(12):
        (tree / f'file{number}').write_bytes(os.urandom(MEGABYTE))
    path = tmp_path / 'www/large.zip'
    build(path, version='1.1.0', mgmt=tree, secret_key=secret_key, level=1)
    return path


def nothing_published(store: Store) -> bool:
    return not any(path for name in ('mgmt', 'hmp', 'ovm') for path in store.root.glob(f'{name}_image/*'))


def here(stage: str) -> bool:
    return threading.current_thread().name == stage


@pytest.mark.parametrize('stage', ['keep', 'iso', 'files'])
def test_a_disk_that_fails_ends_all(
    get: Get, store: Store, large: Path, server: Server, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    write, calls = os.write, 0

    def fail(descriptor: int, data: Any) -> int:
        nonlocal calls
        calls += here(stage)
        if here(stage) and calls > 8:
            raise OSError(errno.EIO, 'Input/output error')
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'write', fail)
        with pytest.raises(StorageFailed, match='Input/output error'):
            get(f'{server.url}/large.zip')

    assert nothing_published(store)
    assert list(store.staging.glob('work')) == []
    assert get(f'{server.url}/large.zip').version == '1.1.0'
    assert verify(store, '1.1.0') == []


@pytest.mark.parametrize('stage', ['hash', 'check'])
def test_a_digest_that_fails_ends_all(
    get: Get, store: Store, large: Path, server: Server, conf: Any, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    if stage == 'hash':  # a signed image needs none of the whole
        conf.image.require_signature = False
        next((large.parent.parent / 'keys').glob('*.pub')).unlink()
    sha256 = hashlib.sha256

    class Failing:
        def __init__(self, data: bytes = b'') -> None:
            self._digest, self._calls = sha256(data), 0

        def update(self, data: bytes) -> None:
            self._calls += 1
            if here(stage) and self._calls > 2:
                raise MemoryError('no memory')
            self._digest.update(data)

        def hexdigest(self) -> str:
            return self._digest.hexdigest()

    monkeypatch.setattr(hashlib, 'sha256', Failing)
    with pytest.raises(MemoryError):
        get(f'{server.url}/large.zip')

    assert nothing_published(store)


def test_an_engine_that_fails_ends_all(
    get: Get, store: Store, large: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = deflate._ENGINE

    def fail(data: bytes, value: int = 0) -> int:
        if here('inflate'):
            raise MemoryError('no memory')
        return int(engine.crc32(data, value))

    monkeypatch.setattr(deflate, '_ENGINE', types.SimpleNamespace(crc32=fail, decompressobj=engine.decompressobj))
    with pytest.raises(MemoryError):
        get(f'{server.url}/large.zip')

    assert nothing_published(store)


def test_a_source_that_dies_ends_all_and_what_came_is_used_later(
    get: Get, store: Store, large: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(_: float) -> None:
        server.handler.limit = 0

    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', dead)
    server.handler.limit = 6 * MEGABYTE

    with pytest.raises(FetchError, match='tried 5 times'):
        get(f'{server.url}/large.zip')
    assert nothing_published(store)
    server.handler.limit = None

    assert get(f'{server.url}/large.zip').version == '1.1.0'
    assert sum(server.handler.sent) == large.stat().st_size


@pytest.mark.parametrize('polls', [0, 1, 2])
def test_a_download_that_is_cancelled_ends_all(get: Get, store: Store, large: Path, server: Server, polls: int) -> None:
    left = polls

    def cancelled() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    with pytest.raises(Cancelled):
        get(f'{server.url}/large.zip', cancelled=cancelled)

    assert nothing_published(store)
    assert get(f'{server.url}/large.zip').version == '1.1.0'


@pytest.mark.parametrize('when', ['accept', 'progress', 'commit'])
def test_a_caller_that_fails_ends_all(get: Get, store: Store, large: Path, server: Server, when: str) -> None:
    def fail(_: object) -> None:
        raise KeyError(when)

    with pytest.raises(KeyError):
        get(f'{server.url}/large.zip', **{when: fail})

    assert nothing_published(store)


def test_the_callers_functions_run_in_its_own_thread(get: Get, large: Path, server: Server) -> None:
    seen = set()

    def called(_: object = None) -> bool:
        seen.add(threading.current_thread())
        return False

    get(f'{server.url}/large.zip', accept=called, progress=called, commit=called, cancelled=called)

    assert seen == {threading.current_thread()}


CHILD = """
    import sys, types
    from pathlib import Path
    sys.path[:0] = {path!r}
    from ovca.image import Store, receive
    conf = types.SimpleNamespace(update=types.SimpleNamespace(**{update!r}), image=types.SimpleNamespace(**{image!r}))
    receive({uri!r}, store=Store.from_conf(conf), conf=conf, progress=lambda p: None, cancelled=lambda: False,
            accept=lambda m: None, commit=lambda i: None)
    status = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    print(status['VmHWM'].split()[0])
"""


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='only Linux tells the peak of memory there')
def test_memory_is_bounded_whatever_the_size(
    store: Store, conf: Any, server: Server, tmp_path: Path, secret_key: Path
) -> None:
    tree, block = tmp_path / 'huge', os.urandom(MEGABYTE)
    tree.mkdir()
    for number in range(10):
        with (tree / f'file{number}').open('wb') as stream:
            for _ in range(30):
                stream.write(block)
    build(tmp_path / 'www/huge.zip', version='1.1.0', mgmt=tree, secret_key=secret_key, level=0)
    code = textwrap.dedent(CHILD).format(
        path=sys.path, update=vars(conf.update), image=vars(conf.image), uri=f'{server.url}/huge.zip'
    )

    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 100 * 10**6
    assert store.iso_path('1.1.0').stat().st_size > 300 * MEGABYTE


# The parts.


def test_threads_of_a_flow_give_way_soon() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        Flow()
        assert sys.getswitchinterval() == pytest.approx(TURN)
    finally:
        sys.setswitchinterval(before)


def test_a_pipe_holds_no_more_than_it_may() -> None:
    flow = Flow()
    pipe: Pipe[bytes] = Pipe(flow, 10)
    most = seen = 0
    lock, inside = threading.Lock(), 0

    def put() -> None:
        nonlocal inside
        for _ in range(100):
            pipe.put(b'1234', 4)
            with lock:
                inside += 4
        pipe.end()

    flow.start('put', put)
    for piece in pipe:
        with lock:
            most = max(most, inside)
            inside -= len(piece)
        seen += len(piece)
    flow.wait(lambda: None)

    assert seen == 400
    assert most <= 10 + 4  # one was taken already


def test_who_waits_for_room_is_woken_when_another_stage_fails() -> None:
    flow = Flow()
    pipe: Pipe[bytes] = Pipe(flow, 1)
    ended = threading.Event()

    def put() -> None:
        try:
            for _ in range(3):
                pipe.put(b'x', 1)
        except Stopped:
            ended.set()
            raise

    def fail() -> None:
        raise OSError('first')

    flow.start('put', put)
    flow.start('fail', fail)
    with pytest.raises(OSError, match='first'):
        flow.wait(lambda: None)
    flow.close()

    assert ended.is_set()


def test_a_source_that_never_pauses_does_not_keep_anybody_from_stopping_it(tmp_path: Path) -> None:
    class Steady(Fetcher):
        def _open(self, offset: int, validator: str | None) -> Opened:
            return Opened(0, None, None, self._pieces())

        def _pieces(self) -> Iterator[bytes]:
            for _ in range(200):
                time.sleep(0.005)
                yield b'x'

    def stopped() -> None:
        if receiver.received >= 20:
            raise Cancelled('it is stopped')

    flow = Flow()
    receiver = Receiver(flow, Steady('steady://x', FetchOptions({})), tmp_path / 'part', stopped)
    try:
        with pytest.raises(Cancelled):
            for _ in receiver.chunks():
                pass
    finally:
        flow.close()

    assert receiver.received < 100


def test_a_pipe_that_is_ignored_holds_nobody_up() -> None:
    flow = Flow()
    pipe: Pipe[bytes] = Pipe(flow, 1)
    flow.start('put', lambda: [pipe.put(b'x', 1) for _ in range(100)] and pipe.end())  # type: ignore[func-returns-value]

    pipe.ignore()
    flow.wait(lambda: None)

    assert list(pipe) == []


def test_what_stages_wait_for_is_told_from_what_they_do() -> None:
    times = Times(total=5.0, starved=1.0, blocked=3.0)

    assert times.busy == 1.0


@pytest.mark.parametrize('ends', [None, KeyError])
def test_what_was_handed_over_is_kept_however_it_ends(tmp_path: Path, ends: type[Exception] | None) -> None:
    pieces = [os.urandom(300_000) for _ in range(30)]

    def work() -> None:
        with (tmp_path / 'part').open('w+b') as stream, Kept(stream) as kept:
            for piece in pieces:
                kept.write(piece)
            if ends is not None:
                raise ends

    if ends is None:
        work()
    else:
        with pytest.raises(ends):
            work()

    assert (tmp_path / 'part').read_bytes() == b''.join(pieces)


@pytest.mark.parametrize('how', ['write', 'flush'])
def test_what_cannot_be_kept_is_told_to_who_hands_it_over(tmp_path: Path, how: str) -> None:
    (tmp_path / 'part').touch()

    with (tmp_path / 'part').open('rb') as stream, Kept(stream) as kept, pytest.raises(OSError, match='descriptor'):
        kept.write(b'x')
        while how == 'write':
            kept.write(bytes(MEGABYTE))
        kept.flush()


def each_flip(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 7):
        yield data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


@pytest.mark.parametrize(
    'make',
    [lambda: os.urandom(100_000), lambda: b'the same again ' * 9000, lambda: bytes(3 * MEGABYTE), lambda: b''],
    ids=['noise', 'text', 'zeros', 'nothing'],
)
def test_both_engines_inflate_alike(make: Callable[[], bytes]) -> None:
    import zlib

    isal = pytest.importorskip('isal.isal_zlib', reason='the extra "fast" is not installed')
    data = make()
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush() + b'what follows'

    def inflated(engine: Any, packed: bytes) -> tuple[bytes, bytes, int]:
        unpacker, out, rest = engine.decompressobj(-15), b'', packed
        while not unpacker.eof:
            piece = unpacker.decompress(rest[:5000] if not unpacker.unconsumed_tail else unpacker.unconsumed_tail, 9000)
            rest = rest[5000:] if not unpacker.unconsumed_tail else rest
            out += piece
            if not piece and not rest and not unpacker.unconsumed_tail:
                break
        return out, unpacker.unused_data + rest, engine.crc32(out)

    assert inflated(isal, packed)[::2] == inflated(zlib, packed)[::2] == (data, zlib.crc32(data))


@pytest.mark.parametrize('name', ['zlib', 'isal.isal_zlib'])
def test_a_bundle_comes_through_with_either_engine_and_a_damaged_one_with_none(
    get: Get, store: Store, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from ovca.image.bundle import Bundle
    from ovca.image.errors import BundleError

    monkeypatch.setattr(deflate, '_ENGINE', pytest.importorskip(name))
    monkeypatch.setattr(deflate, 'DAMAGED', (pytest.importorskip(name).error,))
    whole = bundle.read_bytes()

    def contents(data: bytes) -> bytes:
        reader, found = Bundle(iter([data]), 'test'), b''
        while reader.next() is not None:
            found += b''.join(reader.content(2**30))
        return found

    assert get(bundle).version == '1.1.0'
    assert verify(store, '1.1.0') == []
    right = contents(whole)
    refused = 0
    for changed in each_flip(whole[:4000]):
        try:
            assert contents(changed + whole[4000:]) == right
        except BundleError:
            refused += 1
    assert refused > 400
