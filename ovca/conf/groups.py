"""The groups of options: the core's, and those that plugins bring by the entry-point group ``ovca.conf``.

An entry's name is the group's name in the file, its object a list of options or a function that returns one. A
plugin's group is imported when something names it, and not before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from oslo_config import cfg

from ovca import plugins
from ovca.conf import backup, check, cluster, database, health, image, notify, power, provision, remaster, update
from ovca.exceptions import PluginError

GROUP = 'ovca.conf'
MODULES = (update, image, database, cluster, remaster, provision, power, health, check, notify, backup)
_NAME = re.compile(r'[a-z][a-z0-9_-]*')
_METHODS = frozenset(dir(cfg.ConfigOpts.GroupAttr))
"""Names that no option can have: the group has methods of these names."""

Options = list[cfg.Opt]


def core() -> dict[str, Options]:
    """The core's options by group, in the order in which they are shown."""
    return {module.GROUP: list(module.OPTS) for module in MODULES}


def installed() -> dict[str, plugins.Extension]:
    """The plugins' groups by name; nothing is imported. The core's groups cannot be replaced."""
    return {name: found for name, found in plugins.chosen(GROUP).items() if not found.core and name not in core()}


def options(extension: plugins.Extension) -> Options:
    """Import a plugin's options.

    :raises PluginError: it cannot be imported, or is no list of options that a file can hold.
    """
    if not _NAME.fullmatch(extension.name):
        raise PluginError(
            f'{extension} cannot be loaded: the name of a group is made of small letters, digits and dashes; mend the '
            f'package',
            id='plugin-options',
        )
    loaded = plugins.load(extension)
    try:
        found = list(loaded() if callable(loaded) else loaded)
    except Exception as exc:  # whatever a plugin's function raises is the plugin's fault, and is named so
        raise PluginError(
            f'{extension} cannot be loaded: {type(exc).__name__}: {exc}; mend or remove the package',
            id='plugin-options',
        ) from exc
    for option in found:
        if not isinstance(option, cfg.Opt):
            raise PluginError(
                f'{extension} cannot be loaded: {option!r} is no option of oslo.config; mend the package',
                id='plugin-options',
            )
        if option.dest in _METHODS:
            raise PluginError(
                f'{extension} cannot be loaded: no option can be called {option.dest}; rename it in the package',
                id='plugin-options',
            )
    return found


def all_installed() -> tuple[dict[str, Options], list[PluginError]]:
    """Import the options of every plugin: by group, and what is wrong with those that cannot be had."""
    found: dict[str, Options] = {}
    broken: list[PluginError] = []
    for name, extension in installed().items():
        try:
            found[name] = options(extension)
        except PluginError as exc:
            broken.append(exc)
    return found, broken


def names(option: cfg.Opt, group: str) -> set[str]:
    """How a file may call the option: its name and its former ones within the group."""
    former = {old.name for old in option.deprecated_opts if old.name and old.group in (None, group)}
    return {option.dest, *former}


def words(options: Mapping[str, Options]) -> dict[str, set[str]]:
    """All names that a file may hold, by group."""
    return {group: {name for opt in opts for name in names(opt, group)} for group, opts in options.items()}
