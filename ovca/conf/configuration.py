"""A configuration in use: oslo.config's, with the groups of plugins, and with where each value comes from."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from oslo_config import cfg

from ovca.conf import groups
from ovca.conf.files import Source
from ovca.conf.reload import Change

OVERRIDE = '--set'
DEFAULT = 'default'


class Configuration(cfg.ConfigOpts):
    """What ``/etc/ovca.conf`` and the vendor's files say; a plugin's group is adopted when it is first asked for.

    It may be read by many threads while one changes options that are mutable (:meth:`take`).
    """

    def __init__(self, path: str, sources: Sequence[Source]) -> None:
        super().__init__()
        self.path, self.sources = path, list(sources)
        self.options: dict[str, groups.Options] = {}
        """The options of all groups that are in use so far."""
        self._overridden: set[tuple[str, str]] = set()
        self._lock = threading.RLock()
        for group, options in groups.core().items():
            self._register(group, options)

    def read(self) -> None:
        """Read the files. :raises cfg.Error: oslo.config cannot."""
        # Empty lists of folders and files keep oslo.config from looking for its own.
        self(
            [],
            project='ovca',
            default_config_files=[source.path for source in self.sources],
            default_config_dirs=[],
            use_env=False,
        )

    def _register(self, group: str, options: groups.Options) -> None:
        self.register_opts(options, group=group)
        self.options[group] = options

    def adopt(self, group: str) -> bool:
        """Make a group known, a plugin's too; return whether there is one.

        :raises PluginError: a plugin brings it, and cannot be loaded.
        """
        with self._lock:
            if group not in self.options and (extension := groups.installed().get(group)):
                self._register(group, groups.options(extension))
            return group in self.options

    def override(self, group: str, name: str, value: Any) -> None:
        """Set an option for this run. :raises ValueError: the value is not one for it."""
        self.set_override(name, value, group=group)
        self._overridden.add((group, name))

    def take(self, changes: Iterable[Change]) -> None:
        """Let options have other values from now on, all at once for whoever reads them."""
        with self._lock:
            for change in changes:
                self.set_override(change.option.dest, _literal(change.new), group=change.group)

    def origin(self, group: str, option: cfg.Opt) -> str:
        """Where the option's value comes from: a file's path, ``--set`` or ``default``."""
        if (group, option.dest) in self._overridden:
            return OVERRIDE
        names = groups.names(option, group)
        return next((s.path for s in reversed(self.sources) if s.sets(group, names)), DEFAULT)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith('_') and name not in self._groups:
            self.adopt(name)
        return super().__getattr__(name)

    def _get(self, *args: Any, **kwargs: Any) -> Any:
        # oslo.config keeps values it has looked up. Without the lock a reader could put an old value back into that
        # store just after a reload has emptied it, and nobody would look it up again.
        with self._lock:
            return super()._get(*args, **kwargs)


def _literal(value: Any) -> Any:
    """The value with its dollar signs doubled: they have been replaced already, and oslo.config would do it again."""
    if isinstance(value, str):
        return value.replace('$', '$$')
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, dict):
        return {_literal(key): _literal(item) for key, item in value.items()}
    return value
