"""A download that dies while it publishes: afterwards there is the whole image, or none."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ovca.image import Store, verify
from ovca.image.errors import AlreadyPublished
from ovca.image.note import Note

from .conftest import Get

CHILD = """
    import os, signal, sys, types
    from pathlib import Path
    sys.path[:0] = {path!r}
    from ovca.image import Store, receive
    conf = types.SimpleNamespace(update=types.SimpleNamespace(**{update!r}), image=types.SimpleNamespace(**{image!r}))
    store = Store.from_conf(conf)
    rename, left = Path.rename, {moves}
    def counted(path, target):
        global left
        if path.parent.parent == store.staging:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return rename(path, target)
    Path.rename = counted
    def commit(image):
        Path({row!r}).write_text(image.version)
        os.kill(os.getpid(), signal.SIGKILL)
    receive({uri!r}, store=store, conf=conf, progress=lambda p: None, cancelled=lambda: False,
            accept=lambda m: None, commit=commit)
"""


def die(conf: Any, uri: Path, row: Path, moves: int) -> None:
    code = textwrap.dedent(CHILD).format(
        path=sys.path, update=vars(conf.update), image=vars(conf.image), moves=moves, row=str(row), uri=str(uri)
    )
    done = subprocess.run([sys.executable, '-c', code], check=False, timeout=60, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize('moves', [0, 1, 2])
def test_a_kill_between_two_folders_leaves_no_image(
    get: Get, store: Store, conf: Any, bundle: Path, tmp_path: Path, moves: int
) -> None:
    row = tmp_path / 'row'
    die(conf, bundle, row, moves)
    assert not row.exists()
    assert sum(p.is_dir() for p in store.root.glob('*_image/*')) == moves
    assert store.unknown([]) == [], 'what nobody has published is not noted as published'

    assert len(store.clean([])) == moves

    assert list(store.root.glob('*_image/*')) == []
    assert list(store.staging.glob('work')) == []
    assert get(bundle).version == '1.1.0'
    assert verify(store, '1.1.0') == []


def test_a_kill_after_the_row_leaves_the_whole_image(
    get: Get, store: Store, conf: Any, bundle: Path, tmp_path: Path
) -> None:
    row = tmp_path / 'row'
    die(conf, bundle, row, moves=9)

    assert store.unknown([]) == []
    assert store.clean({row.read_text(): Note('1.1.0')}) == []

    assert verify(store, '1.1.0') == []
    assert store.clean([]) == [], 'what was published is noted by now, and so stays without its row'
    with pytest.raises(AlreadyPublished):
        get(bundle)
    assert verify(store, '1.1.0') == []


def test_the_rows_are_asked_for_once_no_download_can_run(get: Get, store: Store, bundle: Path) -> None:
    get(bundle)
    script = f'import sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\nfrom ovca.image import Store\n'
    script += f'with Store(Path({str(store.root)!r})).lock(): pass'

    def rows() -> list[str]:
        other = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False, timeout=30)
        assert 'DownloadRunning' in other.stderr
        return ['1.1.0']

    assert store.clean(rows) == []
    assert verify(store, '1.1.0') == []
