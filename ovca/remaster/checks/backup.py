"""The check of backups: one that is young enough, or one that the update itself will make."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from ovca.backup.shelf import Shelf
from ovca.conf import storage
from ovca.exceptions import BackupError
from ovca.remaster.checks import Check, CheckResult

AHEAD = dt.timedelta(hours=1)


class FreshBackup(Check):
    """There is a backup that is young enough to go back to, where no wipe of this node takes it."""

    id = 'backup'

    def check(self) -> CheckResult:
        conf = self.context.conf
        age = float(conf.check.backup_age)
        folder = storage.backups(conf)
        by_update = bool(conf.backup.required)  # then no update starts without one
        lost = storage.perishable(conf, folder) if age or by_update else None
        if lost:
            return (self.failed if by_update else self.warning)(*lost, {'folder': str(folder)})
        if not age:
            return self.skipped('[check] backup_age is 0')
        with self.context.database.read() as session:
            now = self.context.database.now(session)
        # One from the future tells of a wrong clock, and would be fresh for ever.
        newest = max((made for made in _times(folder) if made <= now + AHEAD), default=None)
        facts = {
            'folder': str(folder),
            'newest_at': f'{newest:%Y-%m-%dT%H:%M:%SZ}' if newest else None,
            'age_limit': age,
            'made_by_update': by_update,
        }
        if newest is not None and (now - newest).total_seconds() <= age:
            return self.passed(f'the newest backup is of {newest:%Y-%m-%dT%H:%M:%SZ}', facts)
        told = f'the newest backup is of {newest:%Y-%m-%dT%H:%M:%SZ}' if newest else f'there is no backup in {folder}'
        if by_update:
            return self.skipped(f'{told}; the update makes one before its first step', facts)
        return self.warning(told, 'make one: `ovca backup-create`', facts)


def _times(folder: Path) -> Iterator[dt.datetime]:
    """When the backups in a folder were made; one that cannot be used does not count, as far as a look can tell."""
    try:
        found = Shelf(folder).backups()
    except BackupError:
        return
    for each in found:
        if each.record is not None and not each.problem:
            yield each.record.created_at
