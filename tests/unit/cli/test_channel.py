from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovca import testing
from ovca.db.models import Request
from ovca.image.build import build, keygen
from tests.operated import Operated
from tests.unit.cli.test_commands import run


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    folder = tmp_path / 'www'
    secret, _ = keygen(tmp_path / 'keys', 'vendor')
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree/file').write_text('x')
    for version, before in (('1.1.0', '1.0.0'), ('2.0.0', '1.1.0')):
        build(folder / f'{version}.zip', version=version, mgmt=tmp_path / 'tree', update_from=before, secret_key=secret)
    return folder


def made(bundles: Path, *argv: str) -> testing.Result:
    secret = bundles.parent / 'keys/vendor.key'
    return testing.run(['channel-build', str(bundles), '--secret-key', str(secret), '-f', 'json', *argv])


def test_a_vendor_makes_a_channel_and_an_operator_sees_it(operated: Operated, bundles: Path, tmp_path: Path) -> None:
    result = made(bundles, '--critical', '2.0.0')
    assert result.code == 0, result.err
    assert (result.json['serial'], result.json['images']) == (1, ['1.1.0', '2.0.0'])
    operated.started().configure('mn1', f'key_folder = {tmp_path / "keys"}\n[update]\nuri = {result.json["file"]}\n')

    rows = run(operated, 'image-list', '--available', '-f', 'json')
    table = run(operated, 'image-list', '--available')

    assert rows.code == 0, rows.err
    assert [(row['version'], row['path'], row['critical']) for row in rows.json] == [
        ('2.0.0', ['1.1.0', '2.0.0'], True),
        ('1.1.0', ['1.1.0'], False),
    ]
    assert '1.1.0, 2.0.0' in table.out
    assert 'iso_sha256' not in table.out


@pytest.mark.parametrize('uri', ['', '[update]\nuri = https://example.com/x.iso.zip\n'])
def test_without_a_channel_there_is_nothing_available(operated: Operated, uri: str) -> None:
    operated.started().configure('mn1', uri)

    result = run(operated, 'image-list', '--available')

    assert (result.code, result.out) == (2, '')
    assert '[no-channel]' in result.err


def test_a_download_without_a_uri_takes_that_of_the_configuration(operated: Operated) -> None:
    operated.started()
    missing = run(operated, 'download')
    operated.configure('mn1', '[update]\nuri = https://example.com/channel.json\n')

    run(operated, 'download', '--no-wait')

    assert (missing.code, missing.err.endswith('[no-uri]\n')) == (2, True)
    assert operated.requests()[0].args == {'uri': 'https://example.com/channel.json'}


@pytest.mark.parametrize('argv', [['download'], ['update'], ['update', '--yes']])
def test_when_nothing_is_newer_it_says_so_and_is_content(operated: Operated, argv: list[str]) -> None:
    operated.started().configure('mn1', '[update]\nuri = https://example.com/channel.json\n')
    operated.answer(lambda request: {'up_to_date': '1.0.0'})

    result = run(operated, *argv)

    assert result.code == 0, result.err
    assert result.out == '1.0.0 runs, and the channel has nothing newer; there is nothing to do\n'


def test_a_step_on_the_way_is_called_one(operated: Operated) -> None:
    operated.started()

    def work(request: Request) -> dict[str, Any]:
        return {'version': '1.1.0', 'digest': 'b' * 64, 'path': ['1.1.0', '2.0.0']}

    operated.answer(work)

    result = run(operated, 'download', 'https://example.com/channel.json')

    assert result.code == 0
    assert '1.1.0 is the first step on the way to 2.0.0: 1.1.0, 2.0.0' in result.err
    assert result.out == 'image 1.1.0 is here; install it with `ovca activate 1.1.0`\n'


def test_after_a_step_the_next_one_is_named(operated: Operated) -> None:
    operated.started().image()

    def work(request: Request) -> dict[str, Any]:
        number = operated.update()
        operated.move(number, 'DONE', 'both nodes run it', reason='both nodes run it')
        return {'version': '1.1.0', 'update_id': number, 'path': ['1.1.0', '2.0.0', '3.0.0']}

    operated.answer(work)

    result = run(operated, 'update', 'https://example.com/channel.json', '--yes')

    assert result.code == 0, result.err
    assert result.err.splitlines()[-1] == 'the next step on the way to 3.0.0 is 2.0.0: repeat `ovca update`'


@pytest.mark.parametrize(
    ('argv', 'id'),
    [
        (['--expires', '0s'], 'bad-expiry'),
        (['--expires', '99999w'], 'bad-expiry'),
        (['--expires', '2020-01-01'], 'bad-expiry'),
        (['--expires', 'soon'], 'bad-time'),
        (['--serial', '0'], 'bad-number'),
        (['--output', 'channel.txt'], 'no-index-name'),
        (['--output', ''], 'bad-option'),
        (['--secret-key', 'none'], 'no-such-path'),
        (['--base-uri', ''], 'bad-base-uri'),
        (['--base-uri', 'https://'], 'bad-base-uri'),
        (['--base-uri', 'https://[::1/x'], 'bad-base-uri'),
        (['--base-uri', 'https://acme:geheim@example.com/x'], 'bad-base-uri'),
        (['--base-uri', 'https://example.com/x?token=geheim'], 'bad-base-uri'),
    ],
)
def test_what_makes_no_channel_is_one_sentence(bundles: Path, argv: list[str], id: str) -> None:
    result = made(bundles, *argv)

    assert (result.code, result.out) == (2, '')
    assert result.err.endswith(f'[{id}]\n')
    assert 'geheim' not in result.err and 'ago' not in result.err
    assert not list(bundles.glob('channel*'))
