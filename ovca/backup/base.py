"""Sources: what a vendor wants in a backup besides the database, the configuration and the site files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ovca import plugins
from ovca.exceptions import BackupError, OvcaError

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['BackupSource', 'SourceFailed']

GROUP = 'ovca.backup'


class SourceFailed(BackupError):
    """A source of a backup could not be saved, or put back."""

    id = 'backup-source-failed'


class BackupSource(ABC):
    """Something that belongs into a backup: a switch's settings, a licence. Entry-point group ``ovca.backup``.

    A driver writes :meth:`save` and :meth:`restore`. The entry point's name is what an operator writes into ``[backup]
    sources``, and the name of its folder in each backup.

    *When it is called.* A source is built anew for each backup, and for each restore; ``__init__`` must not connect
    anywhere. :meth:`save` is called by ``ovca backup-create``, and by the acting master's service before the first step
    of an update. :meth:`restore` is called by ``ovca backup-restore``, after the database was put back and while
    ``ovca.service`` runs on no node: a driver must not count on the rest of the appliance.

    *From which thread.* One, and never from two at a time.

    *How long it may take.* Seconds, better less: an update waits for its backup. No transaction is open meanwhile.

    *What errors mean.* Raise :exc:`SourceFailed` with what is wrong and what to do. When :meth:`save` fails there is no
    backup, and unless ``[backup] required`` is off, the update does not start. When :meth:`restore` fails the rest
    stays put back, the command names the source and the cause, and ends with an error. Any other exception counts the
    same, with its type.

    *What must be idempotent.* Both. :meth:`save` changes nothing but the folder that it is given: this is empty, and
    only its owner can read it. Plain files and folders in it are kept, with their contents but without owner and mode;
    links and other things are an error. :meth:`restore` gets a folder with the same files, perhaps on the other node,
    perhaps with a newer release of the driver, and perhaps for the second time.

    .. code-block:: python

        class Switch(BackupSource):
            api = 1

            def save(self, folder: Path) -> None:
                (folder / 'running-config').write_text(ssh('show running-config'))

            def restore(self, folder: Path) -> None:
                if not ssh('configure replace', (folder / 'running-config').read_text()):
                    raise SourceFailed('the switch refuses its configuration; see its log')
    """

    api: ClassVar[int] = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what is to be kept into ``folder``. :raises SourceFailed: it cannot be had."""

    @abstractmethod
    def restore(self, folder: Path) -> None:
        """Put back what :meth:`save` has written. :raises SourceFailed: it cannot be put back."""


def load(conf: cfg.ConfigOpts) -> dict[str, BackupSource]:
    """Return the sources that ``[backup] sources`` names, by name and in that order.

    :raises PluginError: one of them cannot be loaded.
    :raises ConfigError: an option that one of them needs is missing or wrong.
    """
    return {name: load_one(conf, name) for name in dict.fromkeys(conf.backup.sources)}


def load_one(conf: cfg.ConfigOpts, name: str) -> BackupSource:
    """Return one source by its name; the errors are those of :func:`load`."""
    source: BackupSource = plugins.build(GROUP, name, conf, api=BackupSource.api)
    return source


def why(exc: Exception) -> str:
    """What an exception of a driver says to an operator."""
    return str(exc) if isinstance(exc, OvcaError) else f'{type(exc).__name__}: {exc}'
