"""Bringing the schema to this software's revision by hand, and what forbids it.

After an update the acting master does it by itself. By hand it is for an empty database, and for one that was restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from ovca.db import events, schema
from ovca.db.engine import Database
from ovca.db.models import Node
from ovca.exceptions import Refused
from ovca.remaster import conflicts, operations


@dataclass(frozen=True)
class Migration:
    """From which revision to which; ``found`` is None in an empty database."""

    database: str
    found: str | None
    head: str

    @property
    def due(self) -> bool:
        """Whether there is anything to do."""
        return self.found is None or schema.number(self.found) < schema.number(self.head)

    @property
    def sentence(self) -> str:
        """What is to be done."""
        if self.found is None:
            return f'the database {self.database} is empty; it gets the tables of revision {self.head}'
        if self.due:
            return f'the database {self.database} is brought from revision {self.found} to {self.head}'
        ahead = '' if self.found == self.head else f', and this software works on it although its own is {self.head}'
        return f'the database {self.database} has revision {self.found}{ahead}; nothing is to be done'


def plan(database: Database, folder: Path = schema.FOLDER) -> Migration:
    """Return what would be done.

    :raises Refused: an update is open, or the nodes run different software.
    :raises SchemaError: the schema is newer than what this software can work on.
    """
    migration = Migration(str(database), schema.current(database), schema.head(folder))
    if not migration.due:
        schema.check(database, folder)
    elif migration.found is not None:
        _allow(database)
    return migration


def carry_out(database: Database, migration: Migration, who: str, folder: Path = schema.FOLDER) -> None:
    """Do it, in one transaction; nothing happens when somebody else has done it meanwhile."""
    schema.upgrade(database, folder=folder)
    with database.write() as session:
        detail = f'the schema was brought from revision {migration.found or "0"} to {migration.head}'
        events.append(session, kind='database', detail=detail, actor=who)


def _allow(database: Database) -> None:
    # Columns by name: the tables are those of older software.
    with database.read() as session:
        opened = conflicts.opened(session)
        operations.refuse_held(session, 'a change of the schema')
        nodes = select(Node.name, Node.running_version, Node.running_digest).where(Node.kind == 'management')
        running = {name: (version, digest) for name, version, digest in session.execute(nodes.order_by(Node.name))}
    if opened is not None:
        raise Refused(
            f'{opened}, and old software still works on the tables; wait for its end, then the master brings the '
            f'schema up by itself',
            id='migration-too-early',
        )
    if len(set(running.values())) > 1:
        told = ', '.join(f'{name} runs {version or "what is not known"}' for name, (version, _) in running.items())
        raise Refused(
            f'the nodes run different software ({told}), and the older one may not know the new schema; finish the '
            f'update with `ovca update-retry` first',
            id='migration-too-early',
        )
