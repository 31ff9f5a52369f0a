"""The fetch drivers of the core keep their contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca.image.fetch.base import Fetcher, FetchOptions
from ovca.image.fetch.fake import FakeFetcher, FakeSource
from ovca.testing import contracts

from .conftest import Server


class TestFile(contracts.FetchContract):
    name = 'file'

    def make_source(self, content: bytes) -> str:
        path = self.folder / 'source file'
        path.write_bytes(content)
        return f'file://{path}'.replace(' ', '%20')

    def make_missing(self) -> str:
        return f'file://{self.folder}/nothing'


class TestPath(contracts.FetchContract):
    """A path without a scheme is a local file as well."""

    name = 'file'

    def make_source(self, content: bytes) -> str:
        path = self.folder / 'source'
        path.write_bytes(content)
        return str(path)

    def make_missing(self) -> str:
        return str(self.folder / 'nothing')


class TestHttp(contracts.FetchContract):
    name = 'http'

    @pytest.fixture(autouse=True)
    def _server(self, server: Server, tmp_path: Path) -> None:
        self.server, self.www = server, tmp_path / 'www'

    def make_source(self, content: bytes) -> str:
        path = self.www / 'image.zip'
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        return self._uri('image.zip')

    def make_missing(self) -> str:
        return self._uri('nothing.zip')

    def _uri(self, name: str) -> str:
        return f'{self.server.url}/{name}?token=geheim'.replace('//', '//otto:secret@', 1)


class TestFake(contracts.FetchContract):
    name = 'fake'

    @pytest.fixture(autouse=True)
    def _source(self) -> None:
        self.source = FakeSource()

    def make_source(self, content: bytes) -> str:
        self.source.content, self.source.missing = content, False
        return 'fake://otto:secret@tape/1?token=geheim'

    def make_missing(self) -> str:
        self.source.missing = True
        return 'fake://otto:secret@tape/1?token=geheim'

    def make_driver(self, uri: str) -> Fetcher:
        return FakeFetcher(uri, FetchOptions({}, attempts=2, pause=0.01), source=self.source)
