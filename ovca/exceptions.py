"""The errors an operator may see, on one page.

The world's errors derive from :class:`OvcaError`; each class of them has an exit status of its own, so that a script
can tell them apart, and each situation an id, under which ``ovca help`` and the documentation explain it
(:mod:`ovca.pages`). Mistakes of a programmer stay ``RuntimeError`` and ``ValueError``.
"""

from __future__ import annotations

import re
from typing import ClassVar

__all__ = [
    'BackupError',
    'ConfigError',
    'DatabaseError',
    'DatabaseUnavailable',
    'FetchError',
    'GrantRefused',
    'ImageError',
    'Interrupted',
    'LeaseLost',
    'NotMaster',
    'OvcaError',
    'PluginError',
    'PowerError',
    'ProvisionError',
    'Refused',
    'SchemaError',
    'ServiceUnavailable',
    'UpdateAborted',
    'UpdateFailed',
    'UsageError',
]


class OvcaError(Exception):
    """An error that has no exit status of its own, or a mistake in the program.

    The text is a whole sentence for the operator. ``id`` names the situation, in words with dashes. A class has one
    made of its own name; whoever raises a general class gives a closer one: ``Refused('...', id='no-terminal')``.
    """

    exit_code: ClassVar[int] = 1
    id: str = 'error'

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if 'id' not in vars(cls):
            cls.id = re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '-', cls.__name__.removesuffix('Error')).lower()

    def __init__(self, *args: object, id: str | None = None) -> None:
        super().__init__(*args)
        if id is not None:
            self.id = id

    @property
    def with_id(self) -> str:
        """The sentence with the id at its end, as the command line and the log show it."""
        return f'{self} [{self.id}]'


class UsageError(OvcaError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(OvcaError):
    """The configuration is missing, unreadable or wrong."""

    exit_code = 3


class ImageError(OvcaError):
    """An image is damaged, untrusted or not fit for this appliance."""

    exit_code = 4


class FetchError(OvcaError):
    """A source could not be read."""

    exit_code = 5


class Refused(OvcaError):
    """A check or the present state forbids what was asked for."""

    exit_code = 6


class ServiceUnavailable(OvcaError):
    """The service that has to carry the command out does not answer."""

    exit_code = 7


class NotMaster(ServiceUnavailable):
    """The command has to run on the acting master."""


class UpdateFailed(OvcaError):
    """An update ended without reaching both nodes."""

    exit_code = 8


class UpdateAborted(UpdateFailed):
    """An update was aborted: the old software serves as before."""

    exit_code = 12


class DatabaseError(OvcaError):
    """The database refused or lost an operation."""

    exit_code = 9


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached, or is locked by somebody else."""


class SchemaError(DatabaseError):
    """The schema's revision does not fit this software."""


class LeaseLost(DatabaseError):
    """The caller is not, or no longer, the holder of the lease with this epoch."""


class PowerError(OvcaError):
    """A BMC did not answer, or did not do what it was told."""

    exit_code = 10


class ProvisionError(OvcaError):
    """A machine could not be installed."""

    exit_code = 11


class GrantRefused(ProvisionError):
    """The right to wipe was asked for and is not given."""


class BackupError(OvcaError):
    """A backup could not be made or read, or is not what it was."""

    exit_code = 12


class PluginError(OvcaError):
    """A driver or another extension cannot be loaded."""

    exit_code = 3


class Interrupted(OvcaError):
    """The operator pressed Ctrl-C."""

    exit_code = 130


READER_GONE = 141
"""What a shell shows for a program whose reader went away; no error, so it has no class."""


def exit_statuses() -> list[tuple[int, str]]:
    """Every exit status with what it says, in order: one table for the documentation and the man page."""
    found = {
        0: ['It was done. For an update: both nodes run the new image.'],
        READER_GONE: ['The reader of the output went away, as in `ovca ... | head`.'],
    }
    waiting = [OvcaError]
    while waiting:
        kind = waiting.pop(0)
        if 'exit_code' in vars(kind):
            found.setdefault(kind.exit_code, []).append((kind.__doc__ or '').partition('\n')[0])
        # Plugins have classes of their own, which say nothing new about the command line.
        waiting += [each for each in kind.__subclasses__() if each.__module__ == __name__]
    return [(status, ' '.join(said)) for status, said in sorted(found.items())]
