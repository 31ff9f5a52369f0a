"""What a Redfish BMC may do instead of obeying, and the id that each of these situations has."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from starlette.applications import Starlette

from ovca.exceptions import PowerError
from ovca.power.base import Bmc, PowerState
from ovca.power.redfish import RedfishPower
from ovca.provision import tls
from ovca.provision.server import HttpServer
from tests.conftest import free_port
from tests.sessions import few_sessions

pytestmark = pytest.mark.extra('redfish')
SYSTEM = '/redfish/v1/Systems/1'


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of a BMC that knows its root, and answers ``status`` to everything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(
                {
                    '@odata.id': '/redfish/v1/',
                    'Id': 'RootService',
                    'Name': 'Root',
                    'RedfishVersion': '1.0.0',
                    'Systems': {'@odata.id': '/redfish/v1/Systems'},
                }
            ).encode()
            root = self.path.rstrip('/') == '/redfish/v1'
            self.send_response(200 if root else status)
            self.end_headers()
            self.wfile.write(body if root else b'{}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()


def refusal(address: str) -> PowerError:
    with pytest.raises(PowerError) as caught:
        RedfishPower(Bmc('mn2', address + SYSTEM, 'admin', 's3cret', timeout=5)).state()
    return caught.value


@pytest.mark.parametrize(('status', 'id'), [(401, 'bmc-login'), (404, 'bmc-address'), (500, 'bmc-failed')])
def test_what_a_bmc_answers_has_an_id_of_its_own(status: int, id: str) -> None:
    with answering(status) as address:
        error = refusal(address)

    assert error.id == id
    assert 's3cret' not in str(error)


def test_a_bmc_that_is_not_there_is_silent() -> None:
    assert refusal(f'http://127.0.0.1:{free_port()}').id == 'bmc-silent'


def test_a_certificate_that_nobody_vouches_for_is_told_from_silence() -> None:
    server = HttpServer(Starlette(), '127.0.0.1', 0, certificate=tls.self_signed('127.0.0.1'))
    server.start()

    try:
        error = refusal(f'https://127.0.0.1:{server.port}')
    finally:
        server.stop()

    assert error.id == 'bmc-certificate'


@pytest.mark.parametrize('address', ['ftp://127.0.0.1/x', 'https://[fe80::1/redfish/v1/Systems/1', 'https://[x]/'])
def test_an_address_without_a_system_is_said_before_anything_is_sent(address: str) -> None:
    with pytest.raises(PowerError, match='not the URI of a Redfish system') as caught:
        RedfishPower(Bmc('mn2', address))

    assert caught.value.id == 'bmc-address'


def test_no_task_leaves_a_session_behind() -> None:
    with few_sessions(2) as (address, bmc):
        for _ in range(5):
            with RedfishPower(Bmc('mn2', address, 'admin', 's3cret', timeout=5)) as power:
                assert power.state() is PowerState.ON
                assert len(bmc.live) == 1

    assert (bmc.opened, bmc.live) == (5, {})


def test_a_driver_that_was_closed_can_be_used_again() -> None:
    with few_sessions(1) as (address, bmc):
        power = RedfishPower(Bmc('mn2', address, 'admin', 's3cret', timeout=5))
        for _ in range(2):
            assert power.state() is PowerState.ON
            power.close()

    assert (bmc.opened, bmc.live) == (2, {})


def test_an_answer_that_was_lost_costs_no_session() -> None:
    with few_sessions(1) as (address, bmc), RedfishPower(Bmc('mn2', address, 'admin', 's3cret', timeout=5)) as power:
        assert power.state() is PowerState.ON
        bmc.deaf = True
        with pytest.raises(PowerError):
            power.state()

        assert power.state() is PowerState.ON
        assert bmc.opened == 1


def test_a_session_that_the_bmc_has_forgotten_is_opened_anew() -> None:
    with few_sessions(1) as (address, bmc), RedfishPower(Bmc('mn2', address, 'admin', 's3cret', timeout=5)) as power:
        assert power.state() is PowerState.ON
        bmc.live.clear()

        assert power.state() is PowerState.ON
        assert bmc.opened == 2


def test_closing_says_nothing_of_a_bmc_that_went_away() -> None:
    with few_sessions(1) as (address, _):
        power = RedfishPower(Bmc('mn2', address, 'admin', 's3cret', timeout=1))
        power.state()

    power.close()


def test_nothing_is_asked_of_a_bmc_when_memory_is_cleared() -> None:
    """The collector runs in whatever thread it is: in the one that renews the lease, or within a transaction."""
    with few_sessions(1) as (address, bmc):
        RedfishPower(Bmc('mn2', address, 'admin', 's3cret', timeout=5)).state()
        asked = list(bmc.asked)

        gc.collect()

    assert bmc.asked == asked
