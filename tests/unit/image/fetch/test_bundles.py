"""Whole bundles by all ways, published."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovca.image import Store, verify
from ovca.image.errors import SourceError

from .conftest import MEGABYTE
from .ftpd import Ftpd
from .peers import Nginx, Origin

Get = Callable[..., Any]


@pytest.fixture
def tree(tree: Path) -> Path:
    """Some megabytes, so that there is a middle."""
    (tree / 'noise').write_bytes(random.Random(7).randbytes(2 * MEGABYTE))
    return tree


@pytest.mark.parametrize('way', ['http', 'https', 'ftp', 'ftps'])
def test_a_bundle_is_published_by_every_scheme(
    get: Get, store: Store, conf: Any, bundle: Path, request: pytest.FixtureRequest, way: str, ca_file: str
) -> None:
    conf.update.ca_file = ca_file
    if way.startswith('ftp'):
        certificate = request.getfixturevalue('certificate') if way == 'ftps' else None
        server: Ftpd | Nginx = request.getfixturevalue('ftpd')(certificate)
        folder = server.folder
    else:
        server = request.getfixturevalue('tls_nginx') if way == 'https' else request.getfixturevalue('nginx')()
        folder = server.www
    shutil.copy(bundle, folder / 'image')

    assert get(server.uri).source == server.uri
    assert verify(store, '1.1.0') == []


def test_a_bundle_whose_server_knows_no_ranges_is_unpacked_once(
    get: Get, store: Store, bundle: Path, origin: Origin
) -> None:
    origin.content = bundle.read_bytes()
    origin.ranges, origin.cuts = False, [len(origin.content) * 2 // 3]
    told: list[str] = []

    assert get(origin.uri, notice=told.append).version == '1.1.0'
    assert len(told) == 1 and 'compared' in told[0]
    assert len(origin.requests) == 2
    assert verify(store, '1.1.0') == []


def test_a_bundle_that_changes_twice_is_given_up(get: Get, store: Store, bundle: Path, origin: Origin) -> None:
    whole = bundle.read_bytes()
    origin.content, origin.always_cut = whole, len(whole) // 2
    told: list[str] = []

    etags = iter([f'"{number}"' for number in range(9)])
    origin.requests = Noted(lambda: setattr(origin, 'etag', next(etags)))

    with pytest.raises(SourceError, match='it has changed') as caught:
        get(origin.uri, notice=told.append)

    assert caught.value.id == 'source-changed'
    assert told == [f'{origin.uri} has changed since a part of it was received; it is fetched anew']
    assert store.versions() == []


class Noted(list[dict[str, str]]):
    """Requests; something happens with each."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def append(self, request: dict[str, str]) -> None:
        super().append(request)
        self._happens()
