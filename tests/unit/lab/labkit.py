"""What the tests of the lab share: a stub service, and waiting for things to happen."""

import json
from pathlib import Path

from ovca.lab import processes, spec

SERVICE = """
import os, subprocess, sys, time
from pathlib import Path
here = Path(__file__).parents[4]
children = [subprocess.Popen(['sleep', '600'], start_new_session=True), subprocess.Popen(['sleep', '600'])]
with open(here / 'started', 'a') as file:
    print(os.getpid(), os.environ['OVCA_BOOT_ID'], *[c.pid for c in children], file=file)
while True:
    time.sleep(1)
"""


def install_stub(node: spec.NodeSpec) -> None:
    package = node.root / 'usr/lib/ovca/ovca'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text('')
    (package / 'daemon.py').write_text(SERVICE)
    (node.root / spec.MARKER).touch()
    (node.root / 'etc/ovca').mkdir(parents=True)
    (node.root / 'etc/ovca/installed.json').write_text(json.dumps({'version': '1.0.0'}))


def starts(node: spec.NodeSpec) -> list[list[str]]:
    """One line for each start of the stub service: pid, boot id, pids of its children."""
    path = node.root / 'started'
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def until(true, patience=15.0):
    assert processes.wait_until(true, patience), 'it did not happen'


def log(node: spec.NodeSpec) -> str:
    return Path(node.log).read_text()
