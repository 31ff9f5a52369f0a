"""The boot service, asked as machines, installers and strangers ask it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl

import pytest
import requests

from ovca.exceptions import DatabaseUnavailable
from ovca.lab.machine import parse
from ovca.provision.boot import BODY_LIMIT, plain_app
from ovca.provision.server import HttpServer

MAC = '52:54:00:00:00:01'


def get(stage, path, method='GET', **headers):
    return requests.request(method, f'http://127.0.0.1:{stage.plain.port}{path}', headers=headers, timeout=10)


def raw(stage, path):
    """Ask for a path that no client library mends."""
    connection = http.client.HTTPConnection('127.0.0.1', stage.plain.port, timeout=10)
    connection.request('GET', path)
    status = connection.getresponse().status
    connection.close()
    return status


def post(stage, name, data):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection('127.0.0.1', stage.tls.port, timeout=10, context=context)
    connection.request('POST', f'/v1/{name}', data if isinstance(data, bytes) else json.dumps(data))
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_a_machine_without_an_order_boots_its_disk(stage):
    assert get(stage, f'/boot/{MAC}').text == '#!ovca-process\nlocal\n'


def test_an_armed_machine_gets_its_order_with_either_form_of_its_address(stage):
    stage.authority.arm(MAC, stage.order)

    scripts = [get(stage, f'/boot/{mac}').text for mac in (MAC, MAC.replace(':', '-').upper())]

    for script in scripts:
        installer, order = parse(script)
        assert installer == f'{stage.order.boot_url}/image/1.1.0/boot/installer.pyz'
        assert (order['node'], order['digest'], order['tls_fingerprint']) == (
            'mn2',
            stage.order.digest,
            stage.order.tls_fingerprint,
        )
    assert parse(scripts[0])[1]['boot_token'] != parse(scripts[1])[1]['boot_token']


def test_a_consumed_grant_boots_the_disk(stage):
    stage.arm()
    stage.install()

    assert get(stage, f'/boot/{MAC}').text == '#!ovca-process\nlocal\n'


@pytest.mark.parametrize('error', [DatabaseUnavailable('the database is gone'), RuntimeError('a mistake')])
def test_whatever_goes_wrong_a_machine_boots_its_disk(stage, monkeypatch, error):
    def boot(mac, address):
        raise error

    monkeypatch.setattr(stage.authority, 'boot', boot)

    assert get(stage, f'/boot/{MAC}').text == '#!ovca-process\nlocal\n'


def test_an_order_that_would_say_more_than_it_means_boots_the_disk(stage):
    from dataclasses import replace

    stage.authority.arm(MAC, replace(stage.order, iso='a.iso\nroot=/'))

    assert get(stage, f'/boot/{MAC}').text == '#!ovca-process\nlocal\n'


def test_what_is_no_card_is_not_found(stage):
    assert get(stage, '/boot/anything').status_code == 404


def test_an_iso_is_served_whole_in_parts_and_by_its_headers(stage):
    path = f'/image/1.1.0/{stage.image.iso.name}'
    data = stage.image.iso.read_bytes()

    whole, part, head = get(stage, path), get(stage, path, Range='bytes=32769-32773'), get(stage, path, 'HEAD')

    assert (whole.status_code, whole.content == data) == (200, True)
    assert (part.status_code, part.content) == (206, b'CD001')
    assert (head.status_code, head.headers['content-length'], head.headers['accept-ranges']) == (
        200,
        str(len(data)),
        'bytes',
    )


@pytest.mark.parametrize(
    'path',
    [
        '/image/1.1.0/../../secret',
        '/image/1.1.0/%2e%2e/%2e%2e/secret',
        '/image/1.1.0/..%2f..%2fsecret',
        '/image/1.1.0//secret',
        '/image/../secret',
        '/image/%2e%2e/secret',
        '/image/..%2f..%2fsecret/x',
        '/image/1.1.0/link',
        '/image/1.1.0/boot',
        '/image/1.1.0/a%00b',
        '/image/1.1.0/' + 'x' * 2000,
        '/image/9.9.9/ovca.iso',
        '/image/being-unpacked/ovca.iso',
        '/image/elsewhere/secret',
        '/files/passwd',
    ],
)
def test_nothing_but_published_images_is_served(stage, path):
    images = stage.image.shared / 'mgmt_image'
    (stage.image.shared / 'secret').write_text('secret')
    (images / 'secret').write_text('secret')
    (images / '1.1.0/link').symlink_to(stage.image.shared / 'secret')
    (images / 'being-unpacked').mkdir()
    (images / 'being-unpacked/ovca.iso').touch()
    (stage.image.shared / 'other').mkdir()
    for name in ('secret', 'manifest.json'):
        (stage.image.shared / 'other' / name).touch()
    (images / 'elsewhere').symlink_to(stage.image.shared / 'other')

    assert raw(stage, path) == 404


def test_efi_firmware_is_served_from_its_folder_only(stage, tmp_path):
    (tmp_path / 'snponly.efi').write_bytes(b'efi')
    (tmp_path / 'other').write_bytes(b'other')
    server = HttpServer(plain_app(stage.authority, None, str(tmp_path), firmware=tmp_path), '127.0.0.1', 0)
    server.start()
    url = f'http://127.0.0.1:{server.port}/files'

    try:
        assert requests.get(f'{url}/snponly.efi', timeout=10).content == b'efi'
        assert requests.head(f'{url}/snponly.efi', timeout=10).headers['content-length'] == '3'
        assert requests.get(f'{url}/other', timeout=10).status_code == 404
    finally:
        server.stop()


def test_grants_are_not_given_over_plain_http(stage):
    assert requests.post(f'http://127.0.0.1:{stage.plain.port}/v1/grant', json={}, timeout=10).status_code == 404


@pytest.mark.parametrize(
    'data',
    [b'', b'no json', b'[]', b'{}', {'node': 'mn2', 'update': 'x', 'attempt': 1, 'nonce': 'a' * 64}, b'\xff\xfe'],
)
def test_what_is_not_understood_is_refused(stage, data):
    stage.arm()

    status, answer = post(stage, 'grant', data)

    assert (status, 'not understood' in answer['error']) == (400, True)


def test_a_nonce_that_can_be_guessed_is_refused(stage):
    stage.arm()

    status, _ = post(stage, 'written', {'node': 'mn2', 'update': 7, 'attempt': 1, 'nonce': 'short'})

    assert status == 400


def test_a_body_over_the_limit_is_refused(stage):
    status, answer = post(stage, 'failed', b'"' + b'x' * BODY_LIMIT + b'"')

    assert (status, 'larger' in answer['error']) == (413, True)


def test_a_database_that_is_away_is_no_refusal(stage, monkeypatch):
    def consume(ask):
        raise DatabaseUnavailable('the database is gone')

    monkeypatch.setattr(stage.authority, 'consume', consume)
    body = {'boot_token': 't', 'node': 'mn2', 'update': 7, 'attempt': 1, 'digest': 'd', 'nonce': 'a' * 64}

    assert post(stage, 'grant', body)[0] == 503


def test_reports_count_only_with_the_nonce_that_consumed_the_grant(stage):
    grant = stage.arm()
    stage.install(disk_boot_command='false')
    who = {'node': 'mn2', 'update': 7, 'attempt': 1}

    strange = post(stage, 'written', {**who, 'nonce': 'b' * 64})
    own = post(stage, 'written', {**who, 'nonce': grant.nonce})

    assert (strange[0], own[0], grant.written) == (403, 200, True)


@pytest.mark.parametrize(('said', 'noted'), [(250, 100.0), (-3, 0.0), ('12.5', 12.5)])
def test_progress_stays_between_nothing_and_all(stage, said, noted):
    grant = stage.arm()
    grant.nonce = 'a' * 64
    who = {'node': 'mn2', 'update': 7, 'attempt': 1, 'nonce': 'a' * 64}

    assert post(stage, 'progress', {**who, 'percent': said})[0] == 200
    assert grant.percent == noted
    assert post(stage, 'progress', {**who, 'percent': 'NaN'})[0] == 400


def test_a_text_is_cut_before_it_is_kept(stage):
    grant = stage.arm()
    grant.nonce = 'a' * 64
    who = {'node': 'mn2', 'update': 7, 'attempt': 1, 'nonce': 'a' * 64}

    post(stage, 'failed', {**who, 'text': 'x' * 5000})

    assert len(grant.failed or '') == 500


def test_plain_http_on_the_tls_port_ends_nothing(stage):
    with socket.create_connection(('127.0.0.1', stage.tls.port), timeout=10) as connection:
        connection.sendall(b'POST /v1/grant HTTP/1.0\r\n\r\n')
        connection.recv(100)

    assert post(stage, 'written', b'{}')[0] == 400
