"""Looking at a node: every item in turn, then what none of them carries over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovca.exceptions import ImageError
from ovca.provision import putback
from ovca.provision.authority import SiteFile
from ovca.provision.site.base import TOTAL, FileItem, SiteItem, SiteItemError, too_much
from ovca.provision.site.state import ABSENT, FAILED, SAVED, ItemState, SiteState
from ovca.provision.site.survey import MOST, Vouched, losses, matcher

OWN = ('etc/ovca/installed.json', 'var/lib/ovca/evidence.json', putback.REPORT, putback.PENDING)
"""What an installer writes itself."""


@dataclass(frozen=True)
class Installation:
    """Which system this is, as its installer recorded it."""

    version: str | None
    digest: str | None
    files_digest: str | None
    mark: str
    """Another one for each installation."""

    @classmethod
    def of(cls, root: Path) -> Installation:
        """Read the record. A torn one is told of elsewhere; here it only means that nothing can be compared."""
        try:
            data = json.loads((root / 'etc/ovca/installed.json').read_bytes())
            mark = f'{data["digest"][:16]} {data.get("installed_at", "")} {data.get("attempt", "")}'
            return cls(data['version'], data['digest'], data.get('files_digest'), mark)
        except (OSError, ValueError, KeyError, TypeError):
            return cls(None, None, None, '')


@dataclass(frozen=True)
class Watch:
    """In which folders lost files are looked for, and which of them nobody misses."""

    folders: Sequence[str]
    ignored: Sequence[str] = ()


def vouched(root: Path, shared_storage: Path, folders: Sequence[str]) -> tuple[Vouched | None, str]:
    """What the image of the running system holds; or why that is not known."""
    installed = Installation.of(root)
    if installed.version is None:
        return None, 'this system has no record of an installation'
    try:
        return Vouched.read(shared_storage, installed.version, installed.files_digest, folders), ''
    except ImageError as exc:
        return None, str(exc)


def gather(
    root: Path,
    items: Sequence[SiteItem],
    *,
    node: str,
    watch: Watch,
    image: tuple[Vouched | None, str],
    before: SiteState | None = None,
    report: Mapping[str, Any] | None = None,
) -> SiteState:
    """Return the state of the node. An item that cannot be saved keeps what was saved of it ``before``."""
    known, why_not = image
    installed = Installation.of(root)
    files: dict[str, SiteFile] = {}
    states: list[ItemState] = []
    for item in items:
        try:
            one, found = _one(root, item, files, known)
            if _size([*states, one], [*files.values(), *found]) > TOTAL:
                raise too_much(item.name)
        except SiteItemError as exc:
            states.append(_kept(item.name, str(exc), files, before))
        else:
            states.append(one)
            files.update((file.path, file) for file in found)
    covered = matcher([pattern for item in items if not isinstance(item, FileItem) for pattern in item.covers()])
    ignored = matcher(watch.ignored)

    def kept(path: str) -> bool:
        return path in files or path in OWN or covered(path) or ignored(path)

    lost = losses(root, known, watch.folders, kept=kept) if known is not None else []
    return SiteState(
        node=node,
        version=installed.version,
        installation=installed.mark,
        items=tuple(states),
        files=tuple(files.values()),
        losses=tuple(lost[:MOST]),
        losses_total=len(lost),
        compared=why_not,
        report=report or {},
    )


def _size(states: Sequence[ItemState], files: Sequence[SiteFile]) -> int:
    return sum(len(state.data or b'') for state in states) + sum(len(file.content) for file in files)


def _one(
    root: Path, item: SiteItem, files: Mapping[str, SiteFile], known: Vouched | None
) -> tuple[ItemState, tuple[SiteFile, ...]]:
    if not isinstance(item, FileItem):
        data = item.save(root)
        absent = data is None
        return ItemState(item.name, ABSENT if absent else SAVED, 'there are none' if absent else '', data), ()
    unchanged = 0

    def skip(path: str) -> bool:
        nonlocal unchanged
        if path in OWN:
            return True  # it speaks of this system, and never of the next one
        same = known is not None and known.holds(root, path)
        unchanged += same
        return same or path in files

    found = item.files(root, skip)
    detail = f'{unchanged} are as the image brought them, and left to the next one' if unchanged else ''
    if not found:
        return ItemState(item.name, ABSENT, detail or 'there are none'), ()
    return ItemState(item.name, SAVED, detail, notes=item.notes(root, [file.path for file in found])), found


def _kept(name: str, problem: str, files: dict[str, SiteFile], before: SiteState | None) -> ItemState:
    old = next((item for item in before.items if item.name == name), None) if before else None
    saved = before.item_files(name) if before else ()
    for file in saved:
        files.setdefault(file.path, file)
    data = old.data if old else None
    kept = '; what was saved of it before is kept' if saved or data is not None else ''
    return ItemState(name, FAILED, problem + kept, data, old.notes if old else {})
