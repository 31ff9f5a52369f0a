"""An appliance to check: a real database, a configuration file, and the other node's status server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from ovca.cluster import machine
from ovca.daemon.status import status_app
from ovca.db.engine import Database
from ovca.image import PublishedImage
from ovca.provision.server import HttpServer
from ovca.remaster.checks import CheckResult, run_all
from ovca.testing.appliance import Config, open_database
from tests.published import publish

MACS = {'mn1': '52:54:00:00:00:01', 'mn2': '52:54:00:00:00:02'}


class Checked:
    """An appliance as its configuration, its database, and what the other node tells of itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = Config(folder / 'appliance')
        self.cards = folder / 'cards'
        self.cards.mkdir()
        self.config.set('check', space_reserve=0, network_folder=self.cards, folders=[])
        self.database: Database = open_database(self.config.load())
        self._servers: list[HttpServer] = []
        self._numbers = itertools.count()

    def image(self, **kwargs: Any) -> PublishedImage:
        """Publish version 1.1.0."""
        return publish(self.config, self.folder / f'image{next(self._numbers)}', self.database, **kwargs)

    def card(self, node: str = 'mn1', *, link: bool = True) -> None:
        """Put the node's card into this machine."""
        place = self.cards / 'eth0'
        place.mkdir()
        (place / 'address').write_text(f'{MACS[node]}\n')
        (place / 'carrier').write_text(f'{int(link)}\n')

    def tell(self, change: Callable[[dict[str, Any]], None] = lambda facts: None) -> None:
        """The other node tells of this very machine, with a ``change``."""

        def told() -> dict[str, Any]:
            facts = machine.look(self.config.load(), self.database).as_dict()
            facts['node'] = 'mn2'
            change(facts)
            return facts

        self.serve(status_app(dict, lambda: None, machine=told))

    def serve(self, app: Starlette) -> None:
        """A status server of the other node."""
        server = HttpServer(app, '127.0.0.1', 0)
        server.start()
        self._servers.append(server)
        self.config.set('cluster', peer_url=f'http://127.0.0.1:{server.port}')

    def check(self, id: str, version: str | None = None, **kwargs: Any) -> CheckResult:
        """One check, as `ovca check` runs it."""
        (result,) = run_all(self.config.load(), self.database, version, only=[id], **kwargs)
        assert result.id == id
        return result

    def close(self) -> None:
        for server in self._servers:
            server.stop()
        self.database.dispose()


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Checked]:
    appliance = Checked(tmp_path)
    yield appliance
    appliance.close()
