from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme
from oslo_config import cfg

from ovca.conf import paths
from ovca.conf.files import parse
from ovca.conf.groups import core
from ovca.conf.inspection import Finding

RACK = {
    'rack': [
        cfg.StrOpt('log_file'),
        cfg.StrOpt('token', secret=True),
        cfg.StrOpt('token_file'),
        cfg.StrOpt('key_file', secret=True),
        cfg.StrOpt('pin', secret=True),
    ]
}
"""The options of a plugin."""


def findings(**values: object) -> dict[str, list[tuple[str, str]]]:
    """Result and detail by place; in the keywords a double underscore stands for the dot."""
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in paths.look({name.replace('__', '.'): value for name, value in values.items()}, {**core(), **RACK}):
        found.setdefault(finding.where, []).append((finding.result.value, finding.detail))
    return found


def secret(path: Path, mode: int = 0o600) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('hunter2\n')
    path.chmod(mode)
    return str(path)


def test_a_folder_that_can_be_used_passes(tmp_path: Path) -> None:
    assert findings(image__shared_storage=str(tmp_path)) == {'[image] shared_storage': [('passed', str(tmp_path))]}


def test_a_folder_that_is_missing_or_is_none_fails(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')

    assert findings(image__shared_storage=str(tmp_path / 'none'), provision__root=str(tmp_path / 'file')) == {
        '[image] shared_storage': [('failed', f'{tmp_path}/none: No such file or directory')],
        '[provision] root': [('failed', f'{tmp_path}/file is no folder')],
    }


@pytest.mark.parametrize(
    ('mounted', 'single_host', 'told'),
    [(None, False, 'failed'), (False, False, 'warning'), (True, True, 'failed'), (None, True, '')],
)
def test_storage_that_cannot_be_shared_is_pointed_out(mounted: bool | None, single_host: bool, told: str) -> None:
    found = findings(
        image__shared_storage='/',
        image__shared_storage_mounted=mounted,
        cluster__peer='mn2',
        database__single_host=single_host,
    )

    results = [result for result, detail in found['[image] shared_storage'] if "on this node's own disk" in detail]
    assert results == ([told] if told else [])
    assert len(findings(image__shared_storage='/')['[image] shared_storage']) == 1


@pytest.mark.parametrize(
    ('mounted', 'single_host', 'told'),
    [(None, False, 'failed'), (False, False, 'warning'), (True, True, 'failed'), (None, True, 'passed')],
)
def test_backups_on_the_disk_that_a_wipe_takes_are_pointed_out(
    tmp_path: Path, not_mounted: None, mounted: bool | None, single_host: bool, told: str
) -> None:
    found = findings(
        image__shared_storage=str(tmp_path / 'shared'),
        image__shared_storage_mounted=mounted,
        backup__folder=str(tmp_path / 'else/backups'),
        cluster__peer='mn2',
        database__single_host=single_host,
    )

    ((result, detail),) = found['[backup] folder']
    assert result == told
    assert ("is on this node's own disk" in detail) is (told != 'passed')


def test_a_folder_of_backups_on_the_shared_storage_needs_no_word_of_its_own(tmp_path: Path, not_mounted: None) -> None:
    shared = tmp_path / 'shared'

    found = findings(
        image__shared_storage=str(shared), backup__folder=str(shared / 'saved'), image__shared_storage_mounted=True
    )

    assert '[backup] folder' not in found


def test_a_file_system_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, 'PATIENCE', 0.05)
    reading, writing = os.pipe()

    def hanging(where: str) -> Finding:
        os.read(reading, 1)
        return Finding(where, 'too late')

    found = paths.bounded('[image] shared_storage', hanging)
    os.close(writing)

    assert found == Finding(
        '[image] shared_storage', 'no answer within 0.05 s', 'look at the server of this file system'
    )


@pytest.mark.parametrize(('needed', 'result'), [(True, 'failed'), (False, 'warning')])
def test_a_key_is_needed_where_signatures_are(tmp_path: Path, needed: bool, result: str) -> None:
    found = findings(image__key_folder=str(tmp_path), image__require_signature=needed)
    (tmp_path / 'vendor.pub').write_text('')
    mended = findings(image__key_folder=str(tmp_path), image__require_signature=needed)

    assert found['[image] key_folder'] == [(result, f'{tmp_path} holds no public key (*.pub)')]
    assert mended['[image] key_folder'] == [('passed', f'{tmp_path}: vendor.pub')]
    assert ('[image] require_signature' in found) is not needed


def test_the_files_of_secrets_are_tried(tmp_path: Path) -> None:
    good, open_one = secret(tmp_path / 'good'), secret(tmp_path / 'open', 0o644)

    found = findings(power__password_file=good, database__connection_file=open_one, update__uri_file=None)

    assert found == {
        '[power] password_file': [('passed', f'{good}: mode 0600')],
        '[database] connection_file': [('failed', f'{open_one} can be read by others (mode 0644)')],
    }


def test_a_plugins_file_is_one_of_a_secret_only_if_it_says_so(tmp_path: Path) -> None:
    path = secret(tmp_path / 'file', 0o644)

    found = findings(rack__log_file=path, rack__token_file=path, rack__key_file=path, rack__pin=path)

    assert found == {
        f'[rack] {option}': [('failed', f'{path} can be read by others (mode 0644)')]
        for option in ('token_file', 'key_file')
    }


@pytest.mark.parametrize(
    ('place', 'kept'), [('root/etc/ovca/bmc', True), ('root/etc/link', False), ('elsewhere/bmc', True)]
)
def test_a_secret_that_the_next_update_would_lose_is_pointed_out(tmp_path: Path, place: str, kept: bool) -> None:
    for name in ('root/etc/ovca/bmc', 'elsewhere/bmc'):
        secret(tmp_path / name)
    (tmp_path / 'root/etc/link').symlink_to(tmp_path / 'root/etc/ovca/bmc')

    found = findings(power__password_file=str(tmp_path / place), provision__root=str(tmp_path / 'root'))

    assert [result for result, _ in found['[power] password_file']] == ['passed'] + ['warning'] * (not kept)


@pytest.mark.parametrize(('mode', 'result'), [(0o600, 'passed'), (0o644, 'failed')])
def test_a_file_of_logins_has_several_lines_and_is_open_to_nobody(tmp_path: Path, mode: int, result: str) -> None:
    path = tmp_path / 'logins'
    path.write_text('machine a login b password c\nmachine d login e password f\n')
    path.chmod(mode)

    found = findings(update__credentials_file=str(path))

    assert [each for each, _ in found['[update] credentials_file']] == [result]


@pytest.mark.parametrize(
    ('mode', 'found'),
    [
        (0o600, ('passed', '{0}/ours.pem')),
        (0o644, ('failed', '{0}/ours.pem can be read by others (mode 0644)')),
        (None, ('failed', '{0}/ours.pem and {0}/ours.pem cannot be used: No such file or directory')),
    ],
)
def test_the_certificate_that_is_shown_is_tried(tmp_path: Path, mode: int | None, found: tuple[str, str]) -> None:
    path = tmp_path / 'ours.pem'
    if mode is not None:
        trustme.CA().issue_cert('mn1.example.com').private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(mode)

    looked = findings(update__client_certificate=str(path))

    assert looked['[update] client_certificate'] == [(found[0], found[1].format(tmp_path))]


def test_certificates_are_read(tmp_path: Path) -> None:
    (tmp_path / 'ca.pem').write_text('nonsense')

    found = findings(update__ca_file=str(tmp_path / 'ca.pem'))

    assert found['[update] ca_file'][0][0] == 'failed'


def test_programs_and_interfaces_are_looked_for(tmp_path: Path) -> None:
    found = findings(
        cluster__reboot_command='no-such-program --now',
        notify__command='sh -c true',
        notify__drivers=['command'],
        cluster__virtual_ip_interface='lo',
    )

    assert found['[cluster] reboot_command'] == [('failed', 'there is no program no-such-program')]
    assert found['[notify] command'][0][0] == 'passed'
    assert found['[cluster] virtual_ip_interface'] == [('passed', 'lo')]
    assert findings(cluster__virtual_ip_interface='nope')['[cluster] virtual_ip_interface'][0][0] == 'failed'


def test_a_source_that_is_not_there_now_is_pointed_out(tmp_path: Path) -> None:
    gone = tmp_path / 'a.zip'

    assert findings(update__uri=str(gone))['[update] uri'] == [('warning', f'{gone} is not there now')]
    assert findings(update__uri=gone.as_uri())['[update] uri'] == [('warning', f'{gone} is not there now')]
    assert '[update] uri' not in findings(update__uri=f'/{"x" * 300}')  # it cannot be looked at; who reads it tells why
    assert findings(update__uri='https://example.com/a.zip') == {}


@pytest.mark.parametrize(
    ('text', 'mode', 'held'),
    [
        ('[database]\nconnection = postgresql://a:hunter2@b/c\n', 0o644, '[database] connection'),
        ('[update]\nhttp_proxy = http://a:hunter2@b\n', 0o640, '[update] http_proxy'),
        ('[update]\nhttp_proxy = http://a:hunter2@b\n', 0o600, None),
        ('[update]\nhttp_proxy = http://b\n[database]\nconnection = sqlite:////x\n', 0o644, None),
    ],
)
def test_a_password_in_a_file_that_others_can_read_is_pointed_out(
    config_file: Path, text: str, mode: int, held: str | None
) -> None:
    config_file.write_text(text)
    config_file.chmod(mode)

    found = paths.readable([parse(str(config_file))], core())

    assert [f.detail for f in found] == (
        [f'{held} holds a password, and others can read the file (mode {mode:04o})'] if held else []
    )
    assert all('hunter2' not in str(f) for f in found)
