from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovca.db import schema
from ovca.db.engine import Database
from ovca.db.models import Node
from ovca.exceptions import Refused, SchemaError
from ovca.remaster import migration
from tests.operated import Operated
from tests.unit.db.test_schema import newer, pretend


@pytest.fixture
def on_each(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    """An appliance that runs, on each engine."""
    appliance = Operated(tmp_path, url=database_url).started()
    yield appliance
    appliance.close()


def test_an_empty_database_gets_its_tables(database_url: str) -> None:
    database = Database(database_url)

    found = migration.plan(database)
    migration.carry_out(database, found, 'otto')

    assert (found.due, found.found) == (True, None)
    assert 'is empty; it gets the tables' in found.sentence
    assert schema.current(database) == schema.head()
    assert not migration.plan(database).due
    database.dispose()


def test_the_next_revision_is_reached_and_told(on_each: Operated, tmp_path: Path) -> None:
    folder = newer(tmp_path, 1)

    found = migration.plan(on_each.database, folder)
    for _ in range(2):  # somebody else may have done it meanwhile
        migration.carry_out(on_each.database, found, 'otto', folder)

    assert f'from revision {schema.head()} to {schema.head(folder)}' in found.sentence
    assert schema.current(on_each.database) == schema.head(folder)
    event = on_each.service().journal(kind='database', limit=1)[0]
    assert (event.actor, event.detail) == (
        'otto',
        f'the schema was brought from revision {schema.head()} to {schema.head(folder)}',
    )


def test_while_an_update_is_open_it_is_refused(on_each: Operated, tmp_path: Path) -> None:
    on_each.update('INSTALL_2')

    with pytest.raises(Refused, match=r'update 1 to 1\.1\.0, which otto began at .*Z, is open') as caught:
        migration.plan(on_each.database, newer(tmp_path, 1))

    assert caught.value.id == 'migration-too-early'


def test_while_the_nodes_differ_it_is_refused(on_each: Operated, tmp_path: Path) -> None:
    with on_each.database.write() as session:
        node = session.get_one(Node, 'mn2')
        node.running_version, node.running_digest = '1.1.0', 'b' * 64
        session.add(Node(name='cn1', kind='compute'))

    with pytest.raises(Refused, match=r'mn1 runs 1\.0\.0, mn2 runs 1\.1\.0'):
        migration.plan(on_each.database, newer(tmp_path, 1))


def test_a_schema_that_is_one_ahead_is_left_alone_and_further_ones_are_refused(on_each: Operated) -> None:
    pretend(on_each.database, f'{int(schema.head()) + 1:04}')

    assert 'nothing is to be done' in migration.plan(on_each.database).sentence

    pretend(on_each.database, f'{int(schema.head()) + 2:04}')
    with pytest.raises(SchemaError, match='too old'):
        migration.plan(on_each.database)
