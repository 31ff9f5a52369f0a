"""An appliance as a configuration file and a database: enough for what only reads and decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.testing import tables

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.db.engine import Database

__all__ = ['Config', 'open_database', 'rows']

VERSION, DIGEST = '1.0.0', 'a' * 64


class Config:
    """The configuration of the node ``mn1``, whose peer is ``mn2``: a real file, for :func:`ovca.testing.run` too.

    Power is the fake's, the database an SQLite file, the shared storage a folder; all of it is in ``folder``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / 'ovca.conf'
        self.shared = folder / 'shared'
        for needed in (self.shared, folder / 'root', folder / 'state'):
            needed.mkdir(parents=True, exist_ok=True)
        self._options: dict[str, dict[str, Any]] = {
            'cluster': {'node_name': 'mn1', 'peer': 'mn2', 'virtual_ip': '127.0.0.1'},
            'database': {'connection': f'sqlite:///{folder / "ovca.sqlite"}', 'single_host': True},
            'image': {'shared_storage': self.shared, 'space_reserve': 0},
            'power': {'driver': 'fake', 'bmc': {'mn1': 'fake://bmc1', 'mn2': 'fake://bmc2'}},
            'provision': {'root': folder / 'root', 'state_path': folder / 'state'},
        }
        self._write()

    def __fspath__(self) -> str:
        return str(self.path)

    def set(self, group: str, **options: Any) -> None:
        """Write options of a group, of ovca's or of a plugin's.

        A value may be a text, a number, a truth value, a path, or a list or mapping of these; it is written as the file
        wants it.
        """
        self._options.setdefault(group, {}).update(options)
        self._write()

    def load(self) -> cfg.ConfigOpts:
        """Read the file, as the command line and the service do; the groups of installed plugins are in it as well.

        :raises ConfigError: something in it is wrong.
        """
        from ovca import conf

        return conf.load(str(self.path))

    def _write(self) -> None:
        lines = []
        for group, options in self._options.items():
            lines += [f'[{group}]', *(f'{name} = {_text(value)}' for name, value in options.items()), '']
        self.path.write_text('\n'.join(lines), encoding='utf-8')


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ','.join(f'{key}:{_text(each)}' for key, each in value.items())
    if isinstance(value, list | tuple):
        return ','.join(_text(each) for each in value)
    return str(value).replace('$', '$$')  # oslo.config replaces $name by the value of an option


def open_database(conf: cfg.ConfigOpts) -> Database:
    """Open the database that the configuration names, with the tables and two healthy nodes: mn1 acts as master.

    Dispose it after use.
    """
    from ovca.db.engine import Database
    from ovca.db.models import Lease, Node

    database = Database(conf.database.connection, lock_timeout=5, idle_timeout=5)
    tables.prepare(database)
    with database.write() as session:
        now = database.now(session)
        if session.get(Lease, 'management') is None:
            session.add(Lease(name='management', holder='mn1', epoch=1, acting=True, renewed_at=now, ttl=3600.0))
        for name, role in (('mn1', 'master'), ('mn2', 'standby')):
            if session.get(Node, name) is None:
                session.add(_node(Node, name, role, now))
    return database


def _node(model: Any, name: str, role: str, now: Any) -> Any:
    return model(
        name=name,
        role=role,
        epoch_seen=1,
        running_version=VERSION,
        running_digest=DIGEST,
        health='healthy',
        healthy_since=now,
        ready=True,
        last_seen_at=now,
    )


def rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that is in the tables of ovca, to compare before and after."""
    from sqlalchemy import select

    from ovca.db.models import Base

    with database.read() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }
