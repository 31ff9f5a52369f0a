"""Puts site settings back on an installed disk, and reports each item. Standard library only: the installer uses it.

What no file holds (a vendor's item) is left for the service of the new system, in a file that only root reads.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovca.files import write_atomic, write_json
from ovca.image.names import shown
from ovca.provision.client import InstallError

REPORT = 'var/lib/ovca/site-report.json'
PENDING = 'var/lib/ovca/site-pending.json'
NEEDED = 'configuration'
"""The item without which the installed node could not even say what is wrong."""
REVOKED = 'revoked'
"""The list of revoked keys in the key folder, which the image and the site add to."""
CARRIED, ABSENT, FAILED, WAITING = 'carried over', 'not there', 'failed', 'pending'


def inside(root: Path, name: str) -> Path:
    """Return the place of ``name`` below ``root``. :raises InstallError: it is elsewhere, through ``..`` or a link."""
    path = root / name.lstrip('/')
    if '..' in Path(name).parts or not path.parent.resolve().is_relative_to(root.resolve()):
        raise InstallError(f'{name} leaves the root folder {root}')
    return path


def names(root: Path, base: str) -> dict[int, str]:
    """Users (``passwd``) or groups (``group``) by number, as the system below ``root`` has them."""
    try:
        lines = (root / 'etc' / base).read_text(errors='replace').splitlines()
    except OSError:
        return {}
    rows = (line.split(':') for line in lines)
    return {int(row[2]): row[0] for row in rows if len(row) > 2 and row[2].isdecimal()}


class Owners:
    """Who the users and groups of a system are; names, for two images may number them differently."""

    def __init__(self, root: Path) -> None:
        self._users = {name: number for number, name in names(root, 'passwd').items()}
        self._groups = {name: number for number, name in names(root, 'group').items()}

    def give(self, path: Path, owner: str, group: str) -> None:
        """Give a file to its owner.

        :raises OSError: that is not allowed. :raises InstallError: the system has no such user.
        """
        state = path.stat()
        wanted = (self._number(self._users, owner, state.st_uid), self._number(self._groups, group, state.st_gid))
        if wanted != (state.st_uid, state.st_gid):
            mode = state.st_mode & 0o777
            os.chown(path, *wanted)
            path.chmod(mode)

    @staticmethod
    def _number(known: Mapping[str, int], name: str, present: int) -> int:
        if not name:
            return present
        if name in known:
            return known[name]
        if name.isdecimal():
            return int(name)
        raise InstallError(f'the new system has no user or group {name}')


def put(root: Path, file: Mapping[str, Any], owners: Owners) -> None:
    """Put one file back. :raises OSError, InstallError: it cannot be done."""
    target = inside(root, file['path'])
    data = base64.b64decode(file['base64'])
    if str(file.get('item', NEEDED)) == NEEDED and target.name == REVOKED and target.is_file():
        data = united(target.read_bytes(), data)
    _make_folders(root, target.parent, {str(each.get('path')): each for each in file.get('folders', ())}, owners)
    write_atomic(target, data, int(file['mode']) & 0o777)
    owners.give(target, str(file.get('owner', '')), str(file.get('group', '')))


def united(image: bytes, site: bytes) -> bytes:
    """The lines of the image's list, and those that only the site's has: neither takes back what the other revokes."""
    lines = image.splitlines()
    return b''.join(line + b'\n' for line in [*lines, *(line for line in site.splitlines() if line not in lines)])


def _make_folders(root: Path, folder: Path, known: Mapping[str, Mapping[str, Any]], owners: Owners) -> None:
    """Make the folders that are missing as they were; a mode that protects what is in it counts before anything is."""
    if folder.is_dir():
        return
    if folder == root:
        root.mkdir(parents=True)
        return
    _make_folders(root, folder.parent, known, owners)
    facts = known.get(folder.relative_to(root).as_posix())
    if facts is None:
        folder.mkdir()
        return
    folder.mkdir(mode=0o700)
    # A folder of somebody whom the new system does not have is root's: the file says what is wrong.
    with contextlib.suppress(InstallError):
        owners.give(folder, str(facts.get('owner', '')), str(facts.get('group', '')))
    folder.chmod(int(facts.get('mode', 0o700)) & 0o7777)


def check(files: Sequence[Mapping[str, Any]]) -> None:
    """Look at the files before anything is wiped. :raises InstallError: one does not belong below a root."""
    for file in files:
        if '..' in Path(file['path']).parts:
            raise InstallError(f'the site file {file["path"]} leaves the root folder')


def put_back(
    root: Path,
    files: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    *,
    image: Collection[str] = (),
    update: int | None = None,
    attempt: int | None = None,
) -> dict[str, Any]:
    """Put everything back below ``root``; write and return the report. ``image`` are the paths that the image brings.

    An item that fails leaves the others alone.

    :raises InstallError: the node's configuration cannot be put back, or there is no room for the report.
    """
    owners = Owners(root)
    problems: dict[str, str] = {}
    done: dict[str, int] = {}
    replaced: list[str] = []
    for file in files:
        item = str(file.get('item', 'files'))
        done.setdefault(item, 0)
        try:
            put(root, file, owners)
        except (OSError, InstallError, ValueError) as exc:
            problems.setdefault(item, f'{shown(file["path"])}: {exc}')
            continue
        done[item] += 1
        if file['path'] in image:
            replaced.append(file['path'])
    if NEEDED in problems:
        raise InstallError(f'the site item {NEEDED} cannot be put back: {problems[NEEDED]}')
    told = {str(item['name']): item for item in about.get('items', ())}
    rows, pending = [], {}
    for name in [*told, *(name for name in done if name not in told)]:
        facts = told.get(name, {})
        row = {'name': name, 'outcome': CARRIED, 'files': done.get(name, 0), 'detail': str(facts.get('detail', ''))}
        if name in problems:
            row['outcome'], row['detail'] = FAILED, problems[name]
        elif facts.get('data') is not None:
            row['outcome'] = WAITING
            pending[name] = facts['data']
        elif facts.get('outcome') in (ABSENT, FAILED) and not done.get(name):
            row['outcome'] = facts['outcome']
        rows.append(row)
    report = {
        'items': rows,
        'lost': list(about.get('lost', ())),
        'lost_total': int(about.get('lost_total', 0)),
        'compared': str(about.get('compared', '')),
        'saved_at': about.get('saved_at'),
        'replaced': sorted(replaced),
        'at': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
        'update': update,
        'attempt': attempt,
        'told': False,
    }
    try:
        if pending:
            write_json(inside(root, PENDING), pending, mode=0o600)
        write_json(inside(root, REPORT), report, mode=0o600)
    except OSError as exc:
        raise InstallError(f'the report on the site settings cannot be written: {exc}') from exc
    return report
