"""Packages as an installation leaves them: made up for a test, or copied into a lab's image."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovca.lab.images import Plugin

__all__ = ['packed', 'write_distribution']


def write_distribution(
    folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], *, version: str = '1.0', **modules: str
) -> None:
    """Write an installed distribution into a folder that is (or will be) on ``sys.path``.

    ``entry_points`` are names and objects by group, ``modules`` are sources by module name. Call
    ``importlib.invalidate_caches()`` when the folder was on the path already.
    """
    info = folder / f'{name}-{version}.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    lines = []
    for group, entries in entry_points.items():
        lines += [f'[{group}]', *(f'{key} = {value}' for key, value in entries.items())]
    (info / 'entry_points.txt').write_text('\n'.join(lines) + '\n')
    for module, source in modules.items():
        (folder / f'{module}.py').write_text(source)


def packed(name: str) -> Plugin:
    """Return an installed distribution as what an image of the process lab takes in.

    It holds the Python modules of the top-level packages that the entry points name, and their pages on errors,
    wherever they are installed; an editable installation will do. The distribution's own requirements are not taken
    along.

    :raises LookupError: it is not installed, or brings no entry points.
    """
    from ovca.lab.images import Plugin

    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as exc:
        raise LookupError(f'{name} is not installed here; install it before its tests run') from exc
    entry_points: dict[str, dict[str, str]] = {}
    for entry in found.entry_points:
        entry_points.setdefault(entry.group, {})[entry.name] = entry.value
    tops = sorted({entry.module.partition('.')[0] for entry in found.entry_points})
    if not tops:
        raise LookupError(f'{name} brings no entry points; a plugin has at least one')
    modules = {inner: path.read_text(encoding='utf-8') for top in tops for inner, path in _modules(top)}
    return Plugin(name, modules, entry_points, found.version)


def _modules(top: str) -> Iterator[tuple[str, Path]]:
    """The files of an importable package or module, each with its path below the folder that is on ``sys.path``."""
    found = importlib.util.find_spec(top)
    if found is None or found.origin is None:
        raise LookupError(f'{top}: its files cannot be found; a lab takes packages with an __init__.py, and modules')
    origin = Path(found.origin)
    if origin.name != '__init__.py':
        yield origin.name, origin
        return
    for path in sorted([*origin.parent.rglob('*.py'), *origin.parent.rglob('pages/*.rst')]):
        yield str(path.relative_to(origin.parent.parent)), path
