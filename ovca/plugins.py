"""Loading of extensions by entry point. What is broken is named with its package and cause, and takes nothing down."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ovca.exceptions import OvcaError, PluginError

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
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
    'ovca.site',
    'ovca.backup',
    'ovca.pages',
)
BASES = {
    'ovca.fetch': 'ovca.image.fetch.base:Fetcher',
    'ovca.power': 'ovca.power.base:PowerDriver',
    'ovca.provision': 'ovca.provision.base:ProvisionDriver',
    'ovca.check': 'ovca.remaster.checks:Check',
    'ovca.health': 'ovca.cluster.health:HealthCheck',
    'ovca.component': 'ovca.remaster.components:Component',
    'ovca.notify': 'ovca.notify.base:Notifier',
    'ovca.role': 'ovca.cluster.roles:Role',
    'ovca.site': 'ovca.provision.site.base:SiteItem',
    'ovca.backup': 'ovca.backup.base:BackupSource',
}
"""What a driver of each group derives from; imported when a driver is loaded, and not before.

Commands have none, for any of cliff's will do; options are a list, and pages a folder.
"""
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


def find(module: str) -> ModuleSpec | None:
    """Where a module is, found as an import would find it, without importing the packages above it."""
    first, *rest = module.split('.')
    where: list[str] | None = None
    spec = None
    for number in range(len(rest) + 1):
        name = '.'.join([first, *rest[:number]])
        spec = next((s for f in sys.meta_path if (s := f.find_spec(name, where)) is not None), None)
        if spec is None:
            return None
        where = list(spec.submodule_search_locations or ())
    return spec


def load(extension: Extension, *, api: int | None = None) -> Any:
    """Import an extension; with ``api``, a driver that has to be written for this API of its group.

    What it prints while it is imported goes to stderr: stdout holds data, which one more line would break.

    :raises PluginError: it cannot be imported, is not of its group's kind, or was written for another API.
    """
    from stevedore import DriverManager

    class Driver(DriverManager[Any]):
        def list_entry_points(self) -> list[EntryPoint]:
            return [extension.entry]  # and not what stevedore's cache holds

    def failed(manager: Any, entry: EntryPoint, exc: BaseException) -> NoReturn:
        raise _broken(extension, f'{type(exc).__name__}: {exc}') from exc

    try:
        with contextlib.redirect_stdout(sys.stderr):
            loaded = Driver(extension.group, extension.name, on_load_failure_callback=failed).driver
    except (AssertionError, SystemExit) as exc:  # what stevedore does not hand to the callback
        failed(None, extension.entry, exc)
    if api is not None:
        _fit(extension, loaded, api)
    return loaded


def _broken(extension: Extension, cause: str) -> PluginError:
    return PluginError(f'{extension} cannot be loaded: {cause}; mend or remove the package', id='plugin-broken')


def _fit(extension: Extension, loaded: Any, api: int) -> None:
    """Refuse what is no driver of its group, or one for another API."""
    kind = base(extension.group)
    if not (isinstance(loaded, type) and issubclass(loaded, kind)):
        raise _broken(extension, f'{extension.value} does not derive from {kind.__module__}.{kind.__name__}')
    written = getattr(loaded, 'api', '?')
    if written != api:
        raise PluginError(
            f'{extension} is written for API {written}, and this is {api}; install a version of the package that fits',
            id='plugin-api',
        )


def base(group: str) -> Any:
    """The class from which the drivers of a group derive, imported."""
    module, _, name = BASES[group].partition(':')
    return getattr(importlib.import_module(module), name)


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


def load_as_used(extension: Extension) -> Any:
    """Import an extension and look at it as who uses it does; the errors are those of :func:`load`."""
    return load(extension, api=base(extension.group).api if extension.group in BASES else None)


def problem(extension: Extension, load: Callable[[Extension], Any] = load_as_used) -> str:
    """Why an extension cannot be used, and what to do, without its name; empty when it can.

    ``load`` is what its group is loaded with, when that is more than an import.
    """
    winner = chosen(extension.group)[extension.name]
    if winner.package != extension.package:
        return f'is ignored; the name belongs to {winner.package}'
    try:
        load(extension)
    except PluginError as exc:
        return cause(extension, exc)
    return ''


def cause(extension: Extension, exc: PluginError) -> str:
    """What an error says of an extension, without its name: why it cannot be used, and what to do."""
    return str(exc).removeprefix(f'{extension} ').removeprefix('cannot be loaded: ')
