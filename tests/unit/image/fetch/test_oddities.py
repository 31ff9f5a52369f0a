"""What servers do that no standard allows, or hardly: it ends in the right bytes, or in one sentence, and soon."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ovca.image.errors import SourceError

from .conftest import CONTENT, Fetch, Make, leave
from .ftpd import Ftpd
from .peers import Origin

Start = Callable[..., Ftpd]
SIZE = len(CONTENT)
NAME = 'Grüße aus Köln'


# HTTP.


def test_the_whole_is_taken_although_it_is_called_a_part(
    make: Make, fetch: Fetch, origin: Origin, part: Path, notices: list[str]
) -> None:
    leave(make(origin.uri), part, SIZE // 2)
    origin.partial, origin.ranges = True, False
    origin.headers = {'Content-Range': f'bytes 0-{SIZE - 1}/{SIZE}'}

    assert fetch(origin.uri) == CONTENT
    assert len(origin.requests) == 3
    assert 'it is asked for as a whole' in notices[0]


@pytest.mark.parametrize(
    'told',
    [f'bytes 7-{SIZE - 1}/{SIZE}', '', 'bytes */7', f'bytes {"9" * 5000}-/'],
    ids=['of its middle', 'none', 'of nothing', 'too large'],
)
def test_a_server_that_gives_another_part_than_the_whole_is_asked_twice_and_not_for_ever(
    fetch: Fetch, origin: Origin, notices: list[str], told: str
) -> None:
    origin.partial, origin.headers = True, {'Content-Range': told}

    with pytest.raises(SourceError, match='gives a part of it when it is asked for the whole') as caught:
        fetch(origin.uri)

    assert caught.value.id == 'source-altered'
    assert (len(origin.requests), len(notices)) == (2, 1)


@pytest.mark.parametrize('length', ['²', '9' * 5000, '-5', ' '], ids=['no digit', 'too large', 'below 0', 'none'])
def test_a_length_that_is_none_is_not_known(fetch: Fetch, origin: Origin, length: str) -> None:
    origin.headers = {'Content-Length': length, 'Connection': 'close'}

    assert fetch(origin.uri) == CONTENT


def test_a_redirect_may_hold_what_is_no_ascii(fetch: Fetch, origin: Origin) -> None:
    places = [f'/{NAME}'.encode().decode('latin-1'), '/K%C3%B6ln', '/K\xf6ln']  # UTF-8, as it should be, Latin-1
    origin.statuses = [(302, {'Location': place}) for place in places]

    assert fetch(origin.uri) == CONTENT
    assert origin.paths[1:] == ['/Gr%C3%BC%C3%9Fe%20aus%20K%C3%B6ln', '/K%C3%B6ln', '/K%C3%B6ln']


@pytest.mark.parametrize(
    'place', ['http://[::1/image', 'http://127.0.0.1:99999/image', 'http://:80/image', 'https:///image']
)
def test_a_redirect_to_what_is_no_uri_is_told_at_once(fetch: Fetch, origin: Origin, place: str) -> None:
    origin.statuses = [(302, {'Location': place})] * 3

    with pytest.raises(SourceError, match='redirects to what is no URI') as caught:
        fetch(origin.uri)

    assert caught.value.id == 'redirect-refused'
    assert len(origin.requests) == 1


def test_nobody_waits_for_the_content_of_a_redirect(fetch: Fetch, origin: Origin) -> None:
    origin.statuses = [(302, {'Location': '/other', 'Content-Length': '100000000000'})]

    assert fetch(origin.uri, attempts=1, read_timeout=1.0) == CONTENT
    assert origin.paths == ['/image', '/other']


def test_what_a_server_says_for_itself_steers_no_terminal_and_is_short(fetch: Fetch, origin: Origin) -> None:
    origin.statuses, origin.reason = [(404, {})], '\x1b[2JGone\x00\x9b' + 'far ' * 1000

    with pytest.raises(SourceError, match='answers 404') as caught:
        fetch(origin.uri)

    assert str(caught.value).isprintable()
    assert 'Gone' in str(caught.value)
    assert len(str(caught.value)) < 200


# FTP.


@pytest.mark.parametrize('encoding', ['latin-1', 'utf-8'])
def test_an_ftp_server_may_greet_and_name_its_files_in_any_encoding(fetch: Fetch, ftpd: Start, encoding: str) -> None:
    server = ftpd(encoding=encoding)
    (server.folder / NAME).write_bytes(CONTENT)
    name = ''.join(f'%{byte:02x}' for byte in NAME.encode(encoding))

    assert fetch(server.uri) == CONTENT
    assert fetch(server.uri.replace('image', name)) == CONTENT


def test_a_greeting_without_end_is_given_up(fetch: Fetch) -> None:
    def greet(server: socket.socket) -> None:
        client, _ = server.accept()
        with client, suppress(OSError):
            for _ in range(200_000):  # the test ends, however patient the client is
                client.sendall(b'220-Welcome, and read this first ' + b'.' * 60 + b'\r\n')

    with socket.create_server(('127.0.0.1', 0)) as server:
        threading.Thread(target=greet, args=(server,), daemon=True).start()

        with pytest.raises(SourceError, match='says more than 1048576 bytes beside the file') as caught:
            fetch(f'ftp://127.0.0.1:{server.getsockname()[1]}/image', attempts=1)

    assert caught.value.id == 'source-unreachable'


def test_a_path_as_it_is_typed_is_utf_8(fetch: Fetch, ftpd: Start) -> None:
    server = ftpd()
    (server.folder / NAME).write_bytes(CONTENT)

    assert fetch(server.uri.replace('image', NAME)) == CONTENT


@pytest.mark.parametrize('before', ['//a%0d%0aDELE%20image@', '//otto:a%0ab@'])
def test_a_login_of_two_lines_is_not_sent(fetch: Fetch, ftpd: Start, before: str) -> None:
    server = ftpd()

    with pytest.raises(SourceError) as caught:
        fetch(server.uri.replace('//', before))

    assert caught.value.id == 'bad-uri'
    assert 'DELE image' not in server.commands


def test_a_name_that_no_host_can_have_is_told(fetch: Fetch) -> None:
    with pytest.raises(SourceError) as caught:
        fetch('ftp://images..example.com/image')

    assert caught.value.id == 'bad-uri'


# Files.


def test_a_disk_that_gives_errors_is_told_from_the_storage(fetch: Fetch) -> None:
    with pytest.raises(SourceError, match='cannot be read: Input/output error; see to the disk') as caught:
        fetch('file:///proc/self/mem')  # there is no memory at its beginning

    assert caught.value.id == 'file-unreadable'


def test_a_pipe_is_not_waited_for(fetch: Fetch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')

    for path in (str(tmp_path / 'pipe'), '/dev/zero'):
        with pytest.raises(SourceError, match='a pipe or a device, and no file') as caught:
            fetch(f'file://{path}')
        assert caught.value.id == 'file-unreadable'


def test_a_path_that_no_file_can_have_is_told(fetch: Fetch) -> None:
    with pytest.raises(SourceError) as caught:
        fetch('file:///tmp/a%00b')

    assert caught.value.id == 'file-unreadable'
    assert str(caught.value).isprintable()
