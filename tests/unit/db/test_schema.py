from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from ovca.cluster.lease import Lease
from ovca.db import models, schema
from ovca.db.engine import Database
from ovca.db.models import Base
from ovca.exceptions import DatabaseError, SchemaError

UPGRADE = """\
import sys
from ovca.db import schema
from ovca.db.engine import Database

database = Database(sys.argv[1], lock_timeout=10)
schema.prepare(database)
database.dispose()
"""

ADDITION = """\
import sqlalchemy as sa
from alembic import op

revision = '{number}'
down_revision = '{before}'


def upgrade():
    op.add_column('node', sa.Column('added_{number}', sa.Text(), nullable=True))
    op.create_table('more_{number}', sa.Column('id', sa.Integer(), primary_key=True))
    {more}
"""


@pytest.fixture
def empty(database_url: str) -> Any:
    database = Database(database_url, lock_timeout=2)
    yield database
    database.dispose()


def newer(tmp_path: Path, count: int, more: str = '') -> Path:
    """The migrations as a later software brings them."""
    folder = tmp_path / 'migrations'
    shutil.copytree(schema.FOLDER, folder, ignore=shutil.ignore_patterns('__pycache__'))
    mine = int(schema.head())
    for number in range(mine + 1, mine + 1 + count):
        addition = ADDITION.format(number=f'{number:04}', before=f'{number - 1:04}', more=more)
        (folder / 'versions' / f'{number:04}_addition.py').write_text(addition)
    return folder


def pretend(database: Database, revision: str) -> None:
    with database.write() as session:
        session.execute(text('UPDATE alembic_version SET version_num = :revision'), {'revision': revision})


def test_the_migrations_make_exactly_the_models(database: Database) -> None:
    models.add_partial_indexes()

    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={'compare_type': True})

        assert compare_metadata(context, Base.metadata) == []


def test_a_revision_has_the_number_in_its_file_name_and_follows_the_one_before() -> None:
    files = sorted(path for path in (schema.FOLDER / 'versions').glob('[0-9]*.py'))
    modules = [importlib.import_module(f'ovca.db.migrations.versions.{path.stem}') for path in files]

    assert [module.revision for module in modules] == [path.name[:4] for path in files]
    assert [module.revision for module in modules] == [f'{n + 1:04}' for n in range(len(files))]
    assert [module.down_revision for module in modules[1:]] == [module.revision for module in modules[:-1]]
    assert schema.head() == modules[-1].revision


def test_an_empty_database_is_refused_until_it_is_prepared(empty: Database) -> None:
    with pytest.raises(SchemaError, match='is empty'):
        schema.check(empty)

    schema.prepare(empty)

    schema.check(empty)
    assert schema.current(empty) == schema.head()


def test_preparing_again_changes_nothing(database: Database) -> None:
    schema.prepare(database)
    schema.upgrade(database)

    assert schema.current(database) == schema.head()


def test_preparing_does_not_migrate_tables_that_old_software_uses(database: Database, tmp_path: Path) -> None:
    schema.prepare(database, newer(tmp_path, 1))

    assert schema.current(database) == schema.head()


def test_a_migration_that_an_image_brings_is_found_and_old_software_works_on(
    database: Database, tmp_path: Path
) -> None:
    folder = newer(tmp_path, 1)
    lease = Lease(database, 'mn1', 'run', ttl=30)
    lease.ensure_row()
    epoch = lease.claim(lease.read())

    schema.upgrade(database, folder=folder)

    assert schema.current(database) == schema.head(folder) > schema.head()
    with database.read() as session:
        assert 'more_' + schema.head(folder) in inspect(session.connection()).get_table_names()
    schema.check(database)
    assert lease.renew(epoch).epoch == epoch
    schema.upgrade(database)
    assert schema.current(database) == schema.head(folder)


def test_new_software_works_on_the_schema_before_its_own(database: Database, tmp_path: Path) -> None:
    schema.check(database, newer(tmp_path, 1))


def test_software_two_revisions_away_is_refused_on_both_sides(database: Database, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match='too new'):
        schema.check(database, newer(tmp_path, 2))

    pretend(database, f'{int(schema.head()) + 2:04}')

    for work in (schema.check, schema.prepare, schema.upgrade):
        with pytest.raises(SchemaError, match='too old'):
            work(database)


def test_the_tables_of_another_program_are_refused(database: Database) -> None:
    pretend(database, 'ae1027a6acf')

    for work in (schema.check, schema.upgrade):
        with pytest.raises(SchemaError, match='not a schema revision'):
            work(database)


def test_a_migration_that_fails_leaves_the_schema_as_it_was(database: Database, tmp_path: Path) -> None:
    folder = newer(tmp_path, 1, more="op.execute('SELECT * FROM no_such_table')")

    with pytest.raises(DatabaseError):
        schema.upgrade(database, folder=folder)

    assert schema.current(database) == schema.head()
    with database.read() as session:
        found = inspect(session.connection())
        assert not [name for name in found.get_table_names() if name.startswith('more_')]
        assert not [column for column in found.get_columns('node') if column['name'].startswith('added_')]


def test_two_nodes_may_prepare_at_the_same_time(empty: Database, database_url: str) -> None:
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
    command = [sys.executable, '-c', UPGRADE, database_url]
    nodes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]

    errors = [node.communicate(timeout=20)[1] for node in nodes]

    assert [node.returncode for node in nodes] == [0, 0, 0], errors
    assert schema.current(empty) == schema.head()
