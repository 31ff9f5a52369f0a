"""The demonstration: a new lab, a new image, and the one command that an operator types.

It ends with status 0 only if the nodes themselves show what they run: what the installer recorded on each disk, the
token that proves the install, every file compared with the image, and what ``ovca`` says on either node. It stops what
it started, also when it is interrupted or dies.

Run as ``python -m ovca.lab.demo`` or ``ovca-lab demo``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ovca.exceptions import Interrupted, OvcaError
from ovca.lab import spec
from ovca.lab.lab import Lab
from ovca.lab.spec import LabError

FOLDER = Path('.lab/demo')
OLD, NEW = '1.0.0', '1.1.0'
PATIENCE = 300.0


def demonstrate(folder: Path) -> int:
    """Make a lab in ``folder``, update it, and look at the nodes; return the exit status."""
    began = time.monotonic()
    clear(folder)
    say(f'Making an appliance of two nodes with ovca {OLD} in {folder} ...')
    lab = Lab.create(folder, version=OLD)
    try:
        lab.start(owner=os.getpid())
        old_master = lab.wait_until_healthy()
        say(f'It runs; {old_master} is the master. Making a signed image of ovca {NEW} ...')
        bundle = lab.make_image(NEW, notes='the demonstration')
        url = lab.serve() + bundle.name
        status = operate(lab, old_master, url)
        if status:
            say(f'ovca update ended with status {status}.')
            return status
        lab.wait_until_healthy()
        say('\nWhat the nodes say:')
        lab.run(lab.wait_for_master(), ['node-list'], capture_output=False)
        problems = disproof(lab, bundle, old_master)
        for problem in problems:
            say(f'NOT SHOWN: {problem}')
        if not problems:
            say(f'Both nodes run ovca {NEW}, as their disks show, and the roles have changed hands.')
        say(f'It took {time.monotonic() - began:.0f} s.')
        return 1 if problems else 0
    finally:
        lab.stop()
        say(f'Stopped. The logs are {folder}/nodes/*/machine.log and {folder}/log/.')


def clear(folder: Path) -> None:
    """Remove what an earlier demonstration left. :raises LabError: the folder holds something else."""
    if (folder / 'lab.json').is_file():
        Lab.open(folder).stop()
    elif folder.exists() and any(folder.iterdir()) and not (folder / 'nodes').is_dir():
        raise LabError(f'{folder} holds something that is no lab; choose another folder with --folder')
    if folder.exists():
        shutil.rmtree(folder)


def operate(lab: Lab, node: str, url: str) -> int:
    """Run the operator's command on a node, in this terminal; return its exit status."""
    words = ['update', url, '--yes']
    say(f'\n{node}# ovca {" ".join(words)}')
    with lab.popen(node, words) as process:
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise LabError(f'ovca update has not ended after {PATIENCE:g} s; see the logs') from None


def disproof(lab: Lab, bundle: Path, old_master: str) -> list[str]:
    """Return what the nodes themselves do not show, in sentences; nothing is taken from the update's own records."""
    with zipfile.ZipFile(bundle) as archive:
        manifest = json.loads(archive.read('manifest.json'))
        listing = Path(archive.extract('files.json', lab.folder / 'factory'))
    problems = []
    for node in lab.spec.nodes:
        problems += _disk(node, manifest, listing)
        problems += _words(lab, node, old_master)
    return problems


def _disk(node: spec.NodeSpec, manifest: dict[str, Any], listing: Path) -> list[str]:
    """What the node's disk holds."""
    from ovca.image import verify_root

    version = manifest['version']
    installed = spec.read_json(node.root / 'etc/ovca/installed.json')
    evidence = spec.read_json(node.root / 'var/lib/ovca/evidence.json')
    problems = []
    if installed.get('version') != version or installed.get('digest') != manifest['iso']['sha256']:
        problems.append(f"{node.name}: its disk holds {installed.get('version')}, and not the image's digest")
    if evidence.get('node') != node.name or evidence.get('update') != installed.get('update') or not evidence:
        problems.append(f'{node.name}: its disk holds no token of this install')
    differing = verify_root(node.root, listing)
    if differing:
        problems.append(f'{node.name}: {len(differing)} files differ from the image, the first is {differing[0]}')
    return problems


def _words(lab: Lab, node: spec.NodeSpec, old_master: str) -> list[str]:
    """What ``ovca`` on the node says of both."""
    done = lab.run(node.name, ['node-list', '-f', 'json'])
    if done.returncode:
        return [f'{node.name}: ovca node-list ended with {done.returncode}: {done.stderr.strip()}']
    problems = []
    rows = {row['name']: row for row in json.loads(done.stdout)}
    for each in lab.spec.nodes:
        row = rows.get(each.name, {})
        if row.get('version') != NEW:
            problems.append(f'{node.name}: it says that {each.name} runs {row.get("version")}')
        role = 'standby' if each.name == old_master else 'master'
        if row.get('role') != role:
            problems.append(f'{node.name}: it says that {each.name} is {row.get("role")} and not {role}')
    return problems


def say(text: str) -> None:
    print(text, flush=True)


def run(folder: Path) -> int:
    """Like :func:`demonstrate`, and SIGTERM stops everything as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        return demonstrate(folder.resolve())
    except KeyboardInterrupt:
        raise Interrupted('interrupted; everything that was started is stopped') from None
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return run(Path(words[0]) if words else FOLDER)
    except OvcaError as exc:
        print(f'demo: {exc}', file=sys.stderr)
        return exc.exit_code


if __name__ == '__main__':
    sys.exit(main())
