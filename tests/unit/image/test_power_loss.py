"""Power that fails on a real file system: what is in no disk then is gone, and what was published is whole.

The disk is a file with ext4, and the cut is the kernel's own (``FS_IOC_SHUTDOWN`` without writing the log, as
https://git.kernel.org/pub/scm/fs/xfs/xfstests-dev.git does it): from that instant nothing is written any more, and
mounting it again finds what had reached the disk.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovca.image import Store, verify
from ovca.image.build import build
from ovca.image.fetch import held
from tests.conftest import missing_peer

from .conftest import Get, Server

MEGABYTE = 1024 * 1024
CHILD = """
    import fcntl, os, signal, struct, sys, types
    from pathlib import Path
    sys.path[:0] = {path!r}
    from ovca.image import Store, kept, receive
    conf = types.SimpleNamespace(update=types.SimpleNamespace(**{update!r}), image=types.SimpleNamespace(**{image!r}))
    store = Store.from_conf(conf)
    kept.SYNCED = {synced}

    def cut():
        disk = os.open(conf.image.shared_storage, os.O_RDONLY)
        fcntl.ioctl(disk, 0x8004587D, struct.pack('I', 2))  # FS_IOC_SHUTDOWN, FS_SHUTDOWN_FLAGS_NOLOGFLUSH
        os.kill(os.getpid(), signal.SIGKILL)

    rename, left = Path.rename, {moves}
    def counted(path, target):
        global left
        if path.parent.parent == store.staging:
            if left == 0:
                cut()
            left -= 1
        return rename(path, target)
    Path.rename = counted

    def progress(made):
        if made.done >= {received}:
            cut()
    def commit(image):
        Path({row!r}).write_text(image.version)  # the database is on another disk, and has it
        {then!r} or cut()
    receive({uri!r}, store=store, conf=conf, progress=progress, cancelled=lambda: False,
            accept=lambda m: None, commit=commit)
    {then}
    cut()
"""


class Disk:
    """A disk of 256 MB with ext4, mounted at ``folder``."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file, self.folder = file, folder
        folder.mkdir()
        with file.open('wb') as stream:
            stream.truncate(256 * MEGABYTE)
        run('mkfs.ext4', '-q', '-F', str(file))

    def mount(self) -> None:
        run('mount', '-o', 'loop', str(self.file), str(self.folder))

    def unmount(self) -> None:
        run('umount', str(self.folder))


def run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f'{" ".join(command)}: {done.stderr.strip()}')


@pytest.fixture
def disk(tmp_path: Path, conf: Any) -> Iterator[Disk]:
    if os.getuid():
        missing_peer('only root may mount a disk')
    try:
        disk = Disk(tmp_path / 'disk.img', tmp_path / 'disk')
        disk.mount()
    except OSError as exc:
        missing_peer(f'this machine mounts no ext4 from a file: {exc}')
    conf.image.shared_storage = str(disk.folder)
    yield disk
    disk.unmount()


@pytest.fixture
def uri(tmp_path: Path, server: Server, secret_key: Path) -> str:
    """The address of a bundle of 26 MB."""
    tree = tmp_path / 'noise'
    tree.mkdir()
    for number in range(24):
        (tree / f'file{number}').write_bytes(os.urandom(MEGABYTE))
    for part in ('hmp', 'ovm'):
        (tmp_path / part).mkdir()
        (tmp_path / part / 'file').write_bytes(os.urandom(MEGABYTE))
    build(
        tmp_path / 'www/large.zip', version='1.1.0', mgmt=tree, hmp=tmp_path / 'hmp', ovm=tmp_path / 'ovm',
        secret_key=secret_key, level=1,
    )  # fmt: skip
    return f'{server.url}/large.zip'


Cut = Callable[..., Path]


@pytest.fixture
def cut(disk: Disk, conf: Any, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cut:
    """Receive in another process until the power fails, and start the machine anew; the file that is the row."""
    row = tmp_path / 'row'

    def fail(*, received: int = 2**60, moves: int = 99, synced: int = 256 * MEGABYTE, then: str = '') -> Path:
        code = textwrap.dedent(CHILD).format(
            path=sys.path, update=vars(conf.update), image=vars(conf.image), uri=uri, row=str(row),
            received=received, moves=moves, synced=synced, then=then,
        )  # fmt: skip
        done = subprocess.run([sys.executable, '-c', code], check=False, timeout=60, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        disk.unmount()
        disk.mount()
        (tmp_path / 'boot_id').write_text(f'{os.urandom(4).hex()}\n')
        monkeypatch.setattr(held, 'BOOT_ID', tmp_path / 'boot_id')
        return row

    return fail


@pytest.mark.parametrize('kept', ['what was received', 'what it was unpacked to'])
@pytest.mark.parametrize('megabytes', [1, 9, 20])
def test_what_a_download_had_synced_is_received_once_and_the_rest_again(
    cut: Cut, get: Get, server: Server, uri: str, conf: Any, megabytes: int, kept: str
) -> None:
    server.handler.tells_ranges = kept == 'what it was unpacked to'
    row = cut(received=megabytes * MEGABYTE, synced=4 * MEGABYTE)
    assert not row.exists()
    store = Store.from_conf(conf)

    assert get(uri, store=store).version == '1.1.0'

    assert verify(store, '1.1.0') == []
    assert [path.name for path in store.staging.iterdir() if not path.name.startswith('lock')] == []
    asked = server.handler.seen[-1]
    begun = int(asked.removeprefix('bytes=').rstrip('-')) if asked else 0
    # What is on its way between the line and the disk is at most some megabytes, the synced steps are four; more may
    # have come before the progress was told. That all of it is true, the verification has shown.
    assert megabytes - 16 <= begun / MEGABYTE
    assert begun or megabytes < 16


@pytest.mark.parametrize('moves', [0, 1, 2])
def test_before_the_row_there_is_no_image_that_anybody_takes_for_whole(
    cut: Cut, get: Get, uri: str, conf: Any, moves: int
) -> None:
    row = cut(moves=moves)
    assert not row.exists()
    store = Store.from_conf(conf)

    store.clean([])

    assert list(store.root.glob('*_image/*')) == []
    assert get(uri, store=store).version == '1.1.0'
    assert verify(store, '1.1.0') == []


def test_an_image_with_a_row_is_whole(cut: Cut, conf: Any) -> None:
    row = cut()
    store = Store.from_conf(conf)

    assert store.clean([row.read_text()]) == []

    assert verify(store, '1.1.0') == []


@pytest.mark.parametrize(('then', 'unknown'), [('pass', ['1.1.0']), ('store.forget(["1.1.0"])', [])])
def test_a_note_is_on_the_disk_when_the_image_is_published_and_gone_before_its_row_is(
    cut: Cut, conf: Any, then: str, unknown: list[str]
) -> None:
    cut(then=then)
    store = Store.from_conf(conf)

    assert store.unknown([]) == unknown
    assert verify(store, '1.1.0') == []
    assert [path.name for path in store.mgmt('1.1.0').glob('*published*')] == ['published.json'] * len(unknown)
