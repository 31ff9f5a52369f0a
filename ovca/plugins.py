"""Loading of extensions by entry point. What is broken is named with its package and cause, and takes nothing down."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ovca.exceptions import PluginError

GROUPS = (
    'ovca.cli',
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


@dataclass(frozen=True)
class Extension:
    """An entry point and the package that brings it; nothing is imported yet."""

    group: str
    name: str
    package: str
    version: str
    entry: importlib.metadata.EntryPoint

    @property
    def core(self) -> bool:
        return self.package == CORE


def extensions(group: str) -> list[Extension]:
    """All extensions of a group: the core's first, then by name. Two of one name are both listed.

    The entry points are read anew at each call. stevedore's cache rounds times, so that a re-installed package could
    stay invisible; that is why the list is not taken from it.
    """
    found: dict[tuple[str, str], Extension] = {}
    for dist in importlib.metadata.distributions():
        package = (dist.metadata['Name'] or '?') if dist.metadata else '?'
        for entry in dist.entry_points:
            if entry.group == group:
                found.setdefault((entry.name, package), Extension(group, entry.name, package, dist.version, entry))
    return sorted(found.values(), key=lambda e: (not e.core, e.name, e.package))


def names(group: str) -> list[str]:
    """The names in a group, each once."""
    return list(dict.fromkeys(e.name for e in extensions(group)))


def chosen(group: str) -> dict[str, Extension]:
    """The extension that counts for each name: the core's, or else the first package's."""
    result: dict[str, Extension] = {}
    for extension in extensions(group):
        result.setdefault(extension.name, extension)
    return result


def clashes(group: str) -> list[Extension]:
    """The extensions that do not count, because their name was taken."""
    winners = chosen(group)
    return [e for e in extensions(group) if winners[e.name] != e and winners[e.name].package != e.package]


def load(extension: Extension, *, api: int | None = None) -> Any:
    """Import an extension.

    :raises PluginError: it cannot be imported, or was written for another API.
    """
    try:
        loaded = extension.entry.load()
    except Exception as exc:  # the plugin's code may raise anything
        raise PluginError(
            f'{extension.group}: {extension.name} of package {extension.package} {extension.version} cannot be loaded: '
            f'{type(exc).__name__}: {exc}; mend or remove the package'
        ) from exc
    if api is not None and getattr(loaded, 'api', None) != api:
        raise PluginError(
            f'{extension.group}: {extension.name} of package {extension.package} is written for API '
            f'{getattr(loaded, "api", "?")}, this is {api}; install a version of the package that fits'
        )
    return loaded


def load_one(group: str, name: str, *, api: int | None = None) -> Any:
    """Import the extension with this name.

    :raises PluginError: there is none, or it cannot be loaded.
    """
    extension = chosen(group).get(name)
    if extension is None:
        known = ', '.join(names(group)) or 'none'
        raise PluginError(f'{group}: there is no {name!r}; installed are: {known}')
    return load(extension, api=api)


def problems(groups: Sequence[str] = GROUPS) -> list[str]:
    """One sentence for each extension that cannot be used."""
    result = []
    for group in groups:
        for extension in chosen(group).values():
            try:
                load(extension)
            except PluginError as exc:
                result.append(str(exc))
        result += [
            f'{e.group}: {e.name} of package {e.package} is ignored; the name belongs to {chosen(group)[e.name].package}'
            for e in clashes(group)
        ]
    return result
