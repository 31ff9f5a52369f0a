"""Loading of extensions by entry point. What is broken is named with its package and cause, and takes nothing down."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ovca.exceptions import OvcaError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = (
    'ovca.cli',
    'ovca.conf',
    'ovca.fetch',
    'ovca.power',
    'ovca.provision',
    'ovca.check',
    'ovca.health',
    'ovca.component',
    'ovca.notify',
    'ovca.role',
)
CORE = 'ovca'
_METADATA = {'.dist-info': 'METADATA', '.egg-info': 'PKG-INFO'}


@dataclass(frozen=True)
class Extension:
    """An entry point and the package that brings it; nothing is imported yet."""

    group: str
    name: str
    package: str
    version: str
    value: str
    """Where the object is: ``module:name``."""

    @property
    def core(self) -> bool:
        return self.package == CORE

    @property
    def entry(self) -> EntryPoint:
        """The same for the libraries that load it."""
        from importlib.metadata import EntryPoint

        return EntryPoint(self.name, self.value, self.group)

    def __str__(self) -> str:
        return f'{self.group}: {self.name} of package {self.package} {self.version}'


def extensions(group: str) -> list[Extension]:
    """All extensions of a group: the core's first, then by name. Two of one name are both listed.

    What is installed is seen at once. stevedore's cache rounds times, so that a re-installed package could stay
    invisible; that is why the list is not taken from it.
    """
    found = [extension for extension in _installed() if extension.group == group]
    return sorted(found, key=lambda e: (not e.core, e.name, e.package))


_seen: tuple[object, tuple[Extension, ...]] = (None, ())


def _installed() -> tuple[Extension, ...]:
    """Everything that installed packages offer to ovca.

    It reads what :mod:`importlib.metadata` reads, but only the one small file of each package, and not the whole of its
    description: at the start of every command that is a third of the time. What was read is kept until a folder of the
    path changes.
    """
    global _seen
    state = tuple((folder, _changed_at(folder)) for folder in dict.fromkeys(sys.path))
    if _seen[0] != state:
        found: dict[tuple[str, str, str], Extension] = {}
        for folder, changed in state:
            for extension in _offered(folder) if changed else ():
                # The first one on the path is the one that is imported.
                found.setdefault((extension.group, extension.name, extension.package), extension)
        _seen = (state, tuple(found.values()))
    return _seen[1]


def _changed_at(folder: str) -> int:
    try:
        return Path(folder or '.').stat().st_mtime_ns
    except OSError:
        return 0


def _offered(folder: str) -> Iterator[Extension]:
    try:
        inside = sorted(path for path in Path(folder or '.').iterdir() if path.suffix in _METADATA)
    except OSError:  # a zip, or not readable
        return
    for path in inside:
        try:
            text = (path / 'entry_points.txt').read_text(encoding='utf-8')
            if '[ovca.' not in text:
                continue
            about = (path / _METADATA[path.suffix]).read_text(encoding='utf-8', errors='replace')
        except (OSError, UnicodeError):
            continue
        yield from _entries(text, _header(about, 'Name'), _header(about, 'Version'))


def _header(text: str, name: str) -> str:
    found = re.search(rf'^{name}: *(.*?)\s*$', text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else '?'


def _entries(text: str, package: str, version: str) -> Iterator[Extension]:
    """The entry points in a file as the packaging standard has it: groups in brackets, ``name = module:object``."""
    group = ''
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith('[') and line.endswith(']'):
            group = line[1:-1].strip()
        elif line and line[0] not in '#;' and group.startswith('ovca.'):
            name, _, value = line.partition('=')
            yield Extension(group, name.strip(), package, version, value.strip())


def names(group: str) -> list[str]:
    """The names in a group, each once."""
    return list(chosen(group))


def chosen(group: str) -> dict[str, Extension]:
    """The extension that counts for each name: the core's, or else the first package's."""
    return _winners(extensions(group))


def _winners(found: Sequence[Extension]) -> dict[str, Extension]:
    result: dict[str, Extension] = {}
    for extension in found:
        result.setdefault(extension.name, extension)
    return result


def clashes(group: str) -> list[tuple[Extension, Extension]]:
    """The extensions that do not count because their name was taken, each with the one that counts."""
    found = extensions(group)
    winners = _winners(found)
    return [(e, winners[e.name]) for e in found if winners[e.name].package != e.package]


def load(extension: Extension, *, api: int | None = None) -> Any:
    """Import an extension.

    :raises PluginError: it cannot be imported, or was written for another API.
    """
    from stevedore import DriverManager

    class Driver(DriverManager[Any]):
        def list_entry_points(self) -> list[EntryPoint]:
            return [extension.entry]  # and not what stevedore's cache holds

    def failed(manager: Any, entry: EntryPoint, exc: BaseException) -> NoReturn:
        raise PluginError(
            f'{extension} cannot be loaded: {type(exc).__name__}: {exc}; mend or remove the package', id='plugin-broken'
        ) from exc

    try:
        loaded = Driver(extension.group, extension.name, on_load_failure_callback=failed).driver
    except (AssertionError, SystemExit) as exc:  # what stevedore does not hand to the callback
        failed(None, extension.entry, exc)
    if api is not None and getattr(loaded, 'api', None) != api:
        raise PluginError(
            f'{extension} is written for API {getattr(loaded, "api", "?")}, and this is {api}; install a version of '
            f'the package that fits',
            id='plugin-api',
        )
    return loaded


def load_one(group: str, name: str, *, api: int | None = None) -> Any:
    """Import the extension with this name.

    :raises PluginError: there is none, or it cannot be loaded.
    """
    extension = chosen(group).get(name)
    if extension is None:
        known = ', '.join(names(group)) or 'none'
        raise PluginError(f'{group}: there is no {name!r}; installed are: {known}', id='no-plugin')
    return load(extension, api=api)


def build(group: str, name: str, *args: Any, api: int) -> Any:
    """Import the driver with this name and make one from ``args``.

    :raises PluginError: there is none, or it cannot be loaded or made.
    :raises OvcaError: the driver does not like its configuration, and says why.
    """
    loaded = load_one(group, name, api=api)
    try:
        return loaded(*args)
    except OvcaError:
        raise
    except Exception as exc:
        raise PluginError(
            f'{chosen(group)[name]} cannot be used: {type(exc).__name__}: {exc}; mend or remove the package',
            id='plugin-broken',
        ) from exc


def load_named(group: str, names: Iterable[str], *, api: int) -> dict[str, Any]:
    """Import the extensions with these names, each once, in this order; the errors are those of :func:`load_one`."""
    return {name: load_one(group, name, api=api) for name in dict.fromkeys(names)}


def problem(extension: Extension) -> str:
    """One sentence on why an extension cannot be used; empty when it can."""
    winner = chosen(extension.group)[extension.name]
    if winner.package != extension.package:
        return f'{extension} is ignored; the name belongs to {winner.package}'
    try:
        load(extension)
    except PluginError as exc:
        return str(exc)
    return ''


def problems(groups: Sequence[str] = GROUPS) -> list[str]:
    """One sentence for each extension that cannot be used."""
    return [text for group in groups for extension in extensions(group) if (text := problem(extension))]
