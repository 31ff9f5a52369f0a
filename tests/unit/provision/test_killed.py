"""An installer that dies: at every single thing it does to the disk, the disk must not pretend to be a system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.image import verify_root

# Kills its own process just before the n-th thing that it does below the root; counts them all when n is 0.
DEADLY = """
import os, runpy, signal, sys
root, deadline, program = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.argv = sys.argv[3:]
acts = {'open', 'os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.symlink', 'os.chmod'}
count = 0

def watch(event, args):
    global count
    if event not in acts:
        return
    paths = [os.fspath(a) for a in args if isinstance(a, (str, os.PathLike))]
    if not any(path.startswith(root + '/') for path in paths):
        return
    if event == 'open' and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return
    count += 1
    if count == deadline:
        os.kill(os.getpid(), 9)

sys.addaudithook(watch)
try:
    runpy.run_path(program, run_name='__main__')
finally:
    print(f'did {count} things')
"""


def run(stage, deadline: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-I', '-S', '-B', '-c', DEADLY, str(stage.root), str(deadline), str(stage.program)]
    return subprocess.run([*command, *stage.words()], capture_output=True, text=True, timeout=60, check=False)


def looks_whole(root: Path) -> Iterator[Path]:
    return (root / name for name in ('etc/ovca/installed.json', 'var/lib/ovca/evidence.json') if (root / name).exists())


def test_a_kill_at_any_moment_leaves_the_old_system_no_system_or_the_whole_new_one(stage):
    listing = stage.image.iso.parent / 'files.json'
    seen = set()
    stage.arm()
    things = int(run(stage, 0).stdout.split()[-2])

    for deadline in range(1, things + 1):
        grant = stage.arm()
        stage.put_old_system()
        done = run(stage, deadline)

        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not grant.written
        left = [path.read_text() for path in looks_whole(stage.root)]
        versions = [json.loads(text).get('version', json.loads(text).get('update')) for text in left]
        seen.add(tuple(map(str, versions)))
        assert 7 not in versions, 'the token was there before the end'
        assert '1.0.0' not in versions or stage.untouched(), 'a half-wiped system would boot'
        assert '1.1.0' not in versions or verify_root(stage.root, listing) == []

    assert things > 20
    assert seen == {(), ('1.0.0', '6'), ('6',), ('1.1.0',)}


def test_a_killed_installer_leaves_a_folder_that_the_next_attempt_can_use(stage):
    stage.arm()
    assert run(stage, 12).returncode == -signal.SIGKILL
    grant = stage.arm()

    done = stage.install()

    assert (done.returncode, grant.written) == (0, True)
    assert verify_root(stage.root, stage.image.iso.parent / 'files.json') == []


AS_ANYBODY = ('setpriv', '--bounding-set=-dac_override,-dac_read_search') if os.geteuid() == 0 else ()
"""What lets root, too, write only where the rights allow it."""


def test_folders_without_rights_are_wiped_too(stage):
    grant = stage.arm()
    (stage.root / 'usr/bin').chmod(0o500)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([*AS_ANYBODY, 'touch', stage.root / 'usr/bin/new'], check=True, capture_output=True)

    done = stage.install(*AS_ANYBODY)

    assert (done.returncode, grant.written) == (0, True)
