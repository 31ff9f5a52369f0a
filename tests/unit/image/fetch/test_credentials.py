"""Logins: where they are found, and to whom they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca.exceptions import ConfigError
from ovca.image.fetch.credentials import Login, bare, login, same_place


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / 'logins'
    path.write_text(
        'machine Updates.example.com login otto password "sec ret"\n'
        'machine other.example.com\n  login anna\n  password geheim\n'
        'default login nobody password open\n'
    )
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ('uri', 'expected'),
    [
        ('https://updates.example.com/x', Login('otto', 'sec ret')),
        ('https://other.example.com:8443/x', Login('anna', 'geheim')),
        ('https://me:p%40ss@updates.example.com/x', Login('me', 'p@ss')),
        ('https://me@updates.example.com/x', Login('me', '')),
        ('https://third.example.com/x', None),
        ('https://example.com/x', None),
    ],
)
def test_a_login_is_found_by_the_uri_or_the_host(file: Path, uri: str, expected: Login | None) -> None:
    assert login(uri, str(file)) == expected


def test_a_login_never_shows_itself() -> None:
    assert 'geheim' not in repr(Login('otto', 'geheim'))
    assert bare('https://otto:geheim@a.example.com:1/x?y=z') == 'https://a.example.com:1/x?y=z'


@pytest.mark.parametrize(
    ('mode', 'text', 'id'),
    [
        (0o644, 'machine a login b password geheim\n', 'secret-file-open'),
        (0o600, 'machine a login b passwort geheim\n', 'credentials-file'),
        (0o600, b'machine a login \xff password geheim\n', 'credentials-file'),
        (None, '', 'secret-file'),
    ],
)
def test_a_file_that_cannot_be_used_is_named_without_what_is_in_it(
    tmp_path: Path, mode: int | None, text: str | bytes, id: str
) -> None:
    path = tmp_path / 'logins'
    if mode is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)

    with pytest.raises(ConfigError, match=r'\[update\] credentials_file') as caught:
        login('https://a/x', str(path))

    assert caught.value.id == id
    assert 'geheim' not in str(caught.value)
    assert caught.value.__cause__ is None or 'geheim' not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ('first', 'second', 'expected'),
    [
        ('https://a.example.com/x', 'https://a.example.com:443/y', True),
        ('http://a.example.com/x', 'https://A.example.com/x', True),
        ('http://a.example.com:8080/x', 'https://a.example.com/x', False),
        ('https://a.example.com/x', 'http://a.example.com/x', False),
        ('https://a.example.com/x', 'https://a.example.com:8443/x', False),
        ('https://a.example.com/x', 'https://b.example.com/x', False),
        ('https://a.example.com/x', 'https://a.example.com.evil.net/x', False),
    ],
)
def test_a_login_goes_to_the_same_server_only(first: str, second: str, expected: bool) -> None:
    assert same_place(first, second) is expected
