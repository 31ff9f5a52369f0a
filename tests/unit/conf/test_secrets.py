from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from ovca import conf, testing
from ovca.conf import secrets
from ovca.exceptions import ConfigError

NAME = '[power] password_file'


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that only its owner can read."""
    path = tmp_path / 'the secret'
    path.write_text('hunter2\n')
    path.chmod(0o600)
    return path


def refusal(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        secrets.read(str(path), NAME)
    assert 'hunter2' not in str(caught.value)
    assert caught.value.__cause__ is None or 'hunter2' not in str(caught.value.__cause__)
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize('mode', [0o600, 0o400, 0o700])
def test_a_secret_of_root_alone_is_read_without_its_line_end(secret: Path, mode: int) -> None:
    secret.chmod(mode)

    assert secrets.read(str(secret), NAME) == 'hunter2'


@pytest.mark.parametrize(
    ('mode', 'verb'), [(0o640, 'read'), (0o604, 'read'), (0o644, 'read'), (0o660, 'changed'), (0o602, 'changed')]
)
def test_one_that_others_can_get_at_is_refused_with_the_command_that_mends_it(
    secret: Path, mode: int, verb: str
) -> None:
    secret.chmod(mode)

    error = refusal(secret)

    assert error.id == 'secret-file-open'
    assert f'{NAME} {secret} can be {verb} by others (mode {mode:04o}); run: chmod 600 ' in str(error)
    subprocess.run(str(error).partition('run: ')[2], shell=True, check=True)
    assert secrets.read(str(secret), NAME) == 'hunter2'


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'it is empty'),
        (b' \n', 'it is empty'),
        (b'hunter2\nmore', 'it holds more than one line of text'),
        (b'hunter2\0', 'it holds more than one line of text'),
        (b'hunter2\xff', 'it is not UTF-8 text'),
        (b'hunter2' * 20000, 'it holds more than one line of text'),
    ],
)
def test_what_is_no_single_line_is_refused_and_never_told(secret: Path, content: bytes, said: str) -> None:
    secret.write_bytes(content)

    error = refusal(secret)

    assert error.id == 'secret-file'
    assert said in str(error)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe', 0o600)

    assert 'it is no file' in str(refusal(tmp_path / 'pipe'))
    assert 'Is a directory' in str(refusal(tmp_path))
    assert 'No such file or directory' in str(refusal(tmp_path / 'none'))


def test_a_proxy_can_stand_in_a_file(config_file: Path, secret: Path) -> None:
    secret.write_text('http://me:hunter2@proxy:3128\n')
    config_file.write_text(f'[update]\nhttp_proxy = http://other\nhttp_proxy_file = {secret}\n')

    loaded = conf.load(str(config_file))

    assert secrets.configured(loaded, 'update', 'http_proxy') == 'http://me:hunter2@proxy:3128'
    assert secrets.configured(loaded, 'update', 'https_proxy') is None


def test_what_is_in_the_file_must_be_a_value_for_the_option(config_file: Path, secret: Path) -> None:
    config_file.write_text(f'[update]\nhttp_proxy_file = {secret}\n')
    loaded = conf.load(str(config_file))

    with pytest.raises(ConfigError) as caught:
        secrets.configured(loaded, 'update', 'http_proxy')

    assert str(caught.value) == (f'[update] http_proxy_file {secret} holds no URI for http_proxy; write it anew')


def test_a_command_ends_with_the_status_of_a_wrong_configuration(config_file: Path, secret: Path) -> None:
    secret.write_text(f'sqlite:///{config_file.parent}/ovca.sqlite')
    secret.chmod(0o644)
    config_file.write_text(f'[database]\nconnection_file = {secret}\n')

    result = testing.run(['image-list'], config_file=config_file)

    assert result.code == 3
    assert re.fullmatch(r"ovca: .* run: chmod 600 '.*' \[secret-file-open\]\n", result.err)
