"""The files that make up a configuration: the defaults that an image brings, and the site's own, which wins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from ovca.exceptions import ConfigError
from ovca.files import is_there

VENDOR_FOLDER = 'ovca/vendor.d'
"""Beside the site's file: ``/etc/ovca/vendor.d`` for ``/etc/ovca.conf``."""


@dataclass(frozen=True)
class Source:
    """One file as it was read; nothing in it is checked yet."""

    path: str
    sections: Mapping[str, Mapping[str, Sequence[str]]]

    def sets(self, group: str, names: Collection[str]) -> bool:
        """Whether the file gives the option a value; ``names`` are its name and its former ones."""
        return any(name in self.sections.get(group, {}) for name in names)


def vendor_folder(path: str) -> Path:
    """Where the defaults lie that belong to the site's file ``path``."""
    return Path(path).parent / VENDOR_FOLDER


def paths(path: str) -> list[str]:
    """The files to read, in the order in which they win over each other: the vendor's by name, the site's last."""
    folder = vendor_folder(path)
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        found = []
    except OSError:
        return [str(folder), path]  # whoever reads them says what keeps him from it
    vendor = [str(p) for p in found if p.name.endswith('.conf') and not p.name.startswith('.')]
    return [*vendor, *([path] if is_there(path) else [])]


def parse(path: str) -> Source:
    """Read one file. :raises ConfigError: it cannot be read, or is not of groups and options."""
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except cfg.ParseError as exc:
        # The line may hold a secret; what stands before a separator does not.
        line = exc.line.strip().partition('=')[0].rstrip() if exc.line else ''
        raise ConfigError(
            f'{path}: line {exc.lineno} ({line!r}): {exc.msg}; write [group], and option = value below it',
            id='config-syntax',
        ) from None
    except OSError as exc:
        remedy = 'mend its permissions' if isinstance(exc, PermissionError) else 'name the right file, or mend it'
        raise ConfigError(f'{path} cannot be read: {exc.strerror}; {remedy}', id='config-unreadable') from exc
    except UnicodeError:
        raise ConfigError(f'{path} is not UTF-8 text; write it anew', id='config-unreadable') from None
    return Source(path, sections)
