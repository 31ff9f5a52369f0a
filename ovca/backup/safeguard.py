"""The backup that an update makes before its first step."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovca.backup import creation
from ovca.backup.shelf import Shelf
from ovca.db.engine import Database
from ovca.exceptions import BackupError, OvcaError

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Safeguard:
    """What came of it."""

    shelf: Shelf
    id: str | None
    told: str
    """For the journal of the update."""

    def belongs_to(self, update_id: int) -> None:
        """Note of which update the backup is, so that it stays as long as that is the newest."""
        if self.id is None:
            return
        try:
            self.shelf.belongs_to(self.id, update_id)
        except (OvcaError, OSError) as exc:  # the journal tells of it as well
            LOG.warning('backup %s does not say that it is of update %s: %s', self.id, update_id, exc)


def before_update(conf: cfg.ConfigOpts, database: Database, version: str, who: str) -> Safeguard:
    """Make the backup; never within a transaction.

    :raises BackupError: it cannot be made, and ``[backup] required`` wants it.
    """
    shelf = Shelf.from_conf(conf)
    try:
        record = creation.create(conf, database, by=who, why=f'before the update to {version}', shelf=shelf)
    except BackupError as exc:
        if conf.backup.required:
            raise BackupError(
                f'{exc}; the update was not begun. Mend it, or set [backup] required = false to update without a '
                f'backup',
                id='backup-failed',
            ) from exc
        LOG.error('ALARM: the update goes on without a backup, as [backup] required allows: %s', exc)
        return Safeguard(shelf, None, f'without a backup, as [backup] required allows: {exc}')
    LOG.info('backup %s was made before the update to %s', record.id, version)
    return Safeguard(shelf, record.id, f'backup {record.id} was made before')
