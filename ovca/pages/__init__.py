"""The pages that explain errors: one file for each id, in the package, so that they are there when the network is not.

``ovca help <id>`` prints one, and the documentation holds all of the core's. A plugin has its own in a folder ``pages``
of its package, which an entry point of the group ``ovca.pages`` names: its name is the word with which the ids begin,
its value the package. Nothing is imported for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ovca import plugins
from ovca.exceptions import PluginError

GROUP = 'ovca.pages'
FOLDER = Path(__file__).parent
_ID = re.compile(r'[a-z0-9]+(-[a-z0-9]+)*')


def ids() -> list[str]:
    """The ids of the core that have a page."""
    return sorted(path.stem for path in FOLDER.glob('*.rst'))


def brought() -> list[str]:
    """The ids of plugins that have a page."""
    return sorted(
        path.stem
        for extension in plugins.chosen(GROUP).values()
        for found in _usable(extension)
        for path in found.glob('*.rst')
        if _begins(path.stem, extension.name)
    )


def page(id: str) -> str | None:
    """The page for an error's id, as text that can be read on a terminal; None when there is none.

    The core's pages cannot be replaced.
    """
    if not _ID.fullmatch(id):
        return None
    theirs = [f for e in plugins.chosen(GROUP).values() if _begins(id, e.name) for f in _usable(e)]
    paths = [found / f'{id}.rst' for found in (FOLDER, *theirs)]
    return next((path.read_text(encoding='utf-8') for path in paths if path.is_file()), None)


def maker(id: str) -> plugins.Extension | None:
    """An extension whose package the id may belong to, by the word with which its name begins; None when none does."""
    word = id.partition('-')[0]
    others = [e for group in plugins.GROUPS for e in plugins.extensions(group) if not e.core]
    return next((e for e in others if _begins(e.name, word) or (e.group == GROUP and _begins(id, e.name))), None)


def folder(extension: plugins.Extension) -> Path:
    """Where a plugin has its pages.

    :raises PluginError: there is no such folder.
    """
    spec = plugins.find(extension.value)
    found = [Path(where) / 'pages' for where in (spec.submodule_search_locations if spec is not None else None) or ()]
    for each in found:
        if each.is_dir():
            return each
    raise PluginError(
        f'{extension} cannot be loaded: there is no folder `pages` in a package {extension.value}; mend or remove the '
        f'package',
        id='plugin-broken',
    )


def _usable(extension: plugins.Extension) -> Iterator[Path]:
    """The folder, if it is there. Who asks for help on one error is not told of the faults of packages."""
    try:
        yield folder(extension)
    except PluginError:
        return


def _begins(id: str, word: str) -> bool:
    return id == word or id.startswith(f'{word}-')
