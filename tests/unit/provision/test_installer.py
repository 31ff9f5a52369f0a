"""The installer as a machine runs it: the packed file, a real boot service, a real ISO."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ovca.exceptions import GrantRefused
from ovca.image import verify_root
from ovca.provision.authority import GrantAsk, Granted, SiteBundle, SiteFile, encode_file
from ovca.provision.client import Denied, Reporter, Service
from ovca.provision.putback import NEEDED, put_back
from ovca.provision.tls import self_signed
from ovca.remaster.evidence import differing
from tests.unit.provision.conftest import lay


def identity_of(stage):
    return {'node': stage.order.node, 'update': 7, 'attempt': 1, 'nonce': 'a' * 64}


def until(true, patience=10.0):
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.02)


def test_an_install_leaves_the_image_the_site_files_and_the_evidence(stage):
    grant = stage.arm()

    done = stage.install()

    assert done.returncode == 0, done.stderr
    assert verify_root(stage.root, stage.image.iso.parent / 'files.json') == []
    assert not (stage.root / 'home/kept-by-nobody').exists()
    assert (stage.root / 'usr/bin/link').readlink().as_posix() == 'ovcad'
    assert (stage.root / 'usr/bin/ovcad').stat().st_mode & 0o777 == 0o755
    assert (stage.root / 'var/empty').is_dir()
    assert (stage.root / '.ovca-lab').is_file()
    record = json.loads(stage.installed().read_text())
    manifest = json.loads((stage.image.iso.parent / 'manifest.json').read_text())
    assert (record['version'], record['digest']) == ('1.1.0', stage.image.digest)
    assert (record['files_digest'], record['update'], record['attempt']) == (manifest['files_digest'], 7, 1)
    assert json.loads(stage.evidence().read_text()) == {'update': 7, 'node': 'mn2', 'attempt': 1, 'token': grant.token}
    assert (stage.evidence().stat().st_mode & 0o777, grant.written, grant.failed) == (0o600, True, None)


def test_site_files_come_back_with_their_modes(stage):
    stage.arm()

    stage.install()

    found = [stage.root / name for name in ('etc/ovca.conf', 'etc/ssh/ssh_host_key')]
    assert [path.stat().st_mode & 0o777 for path in found] == [0o640, 0o600]
    assert [path.read_bytes() for path in found] == [b'[cluster]\n', b'k\n']


def test_what_the_image_revokes_stays_revoked_beside_what_the_site_does(stage):
    tree = stage.root.parent / 'new'
    lay(tree, {'etc/ovca/keys/revoked': '# ours\nAAAAAAAAAAAAAAAA # stolen\nBBBBBBBBBBBBBBBB\n'})
    ours = SiteFile(
        'etc/ovca/keys/revoked', 0o640, b'# ours\nAAAAAAAAAAAAAAAA # stolen\nCCCCCCCCCCCCCCCC # by us', NEEDED
    )

    for _ in range(2):
        put_back(tree, [encode_file(ours)], {})

    lines = (tree / 'etc/ovca/keys/revoked').read_text().splitlines()
    assert lines == ['# ours', 'AAAAAAAAAAAAAAAA # stolen', 'BBBBBBBBBBBBBBBB', 'CCCCCCCCCCCCCCCC # by us']


def report_of(stage):
    return json.loads((stage.root / 'var/lib/ovca/site-report.json').read_text())


def test_each_site_item_is_reported_and_one_that_fails_leaves_the_others_alone(stage):
    files = (
        SiteFile('etc/ovca.conf', 0o640, b'c', 'configuration'),
        SiteFile('etc/ssh/ssh_host_key', 0o600, b'k', 'ssh-host-keys', 'nobody-here-has-this-name'),
        SiteFile('usr/bin/link/x', 0o600, b'k', 'files'),
        SiteFile('etc/other', 0o600, b'o', 'files'),
    )
    about = {
        'items': [
            {'name': 'configuration', 'outcome': 'saved', 'detail': ''},
            {'name': 'ssh-host-keys', 'outcome': 'saved', 'detail': ''},
            {'name': 'network', 'outcome': 'not there', 'detail': 'there are none'},
            {'name': 'lights', 'outcome': 'saved', 'detail': '', 'data': 'b24='},
            {'name': 'files', 'outcome': 'saved', 'detail': ''},
        ],
        'lost': ['etc/motd (changed)'],
        'lost_total': 1,
    }
    grant = stage.arm(SiteBundle(files, about))

    done = stage.install()

    assert (done.returncode, grant.written) == (0, True), done.stderr
    report = report_of(stage)
    assert [(row['name'], row['outcome'], row['files']) for row in report['items']] == [
        ('configuration', 'carried over', 1),
        ('ssh-host-keys', 'failed', 0),
        ('network', 'not there', 0),
        ('lights', 'pending', 0),
        ('files', 'failed', 1),
    ]
    assert report['items'][1]['detail'].endswith('the new system has no user or group nobody-here-has-this-name')
    assert (report['lost'], report['update'], report['told']) == (['etc/motd (changed)'], 7, False)
    assert (stage.root / 'etc/other').read_text() == 'o'
    pending = stage.root / 'var/lib/ovca/site-pending.json'
    assert (json.loads(pending.read_text()), pending.stat().st_mode & 0o777) == ({'lights': 'b24='}, 0o600)
    assert not set(report['items'][3]) & {'data'}, 'what no file holds may be a secret'


def test_a_name_that_is_not_utf_8_does_not_keep_a_node_from_being_installed(stage):
    name = os.fsdecode(b'etc/M\xfcller.conf')
    files = (SiteFile('etc/ovca.conf', 0o640, b'c', 'configuration'), SiteFile(name, 0o600, b'm', 'files'))
    stage.arm(SiteBundle(files, {'lost': [f'{name}.old (added)'], 'lost_total': 1}))

    done = stage.install()

    assert done.returncode == 0, done.stderr
    assert os.listdir(os.fsencode(stage.root / 'etc')).count(b'M\xfcller.conf') == 1  # noqa: PTH208
    assert (stage.root / name).read_bytes() == b'm'


def test_without_its_configuration_a_node_is_not_installed(stage):
    grant = stage.arm(SiteBundle((SiteFile('usr/bin/ovcad/x', 0o600, b'c', 'configuration'),)))

    done = stage.install()

    assert (done.returncode, stage.installed().exists(), stage.evidence().exists()) == (1, False, False)
    assert 'the site item configuration cannot be put back: usr/bin/ovcad/x' in (grant.failed or '')


def test_a_file_of_the_site_that_stands_in_for_the_images_is_proof_all_the_same(stage):
    stage.arm(SiteBundle((SiteFile('etc/ovca-release', 0o600, b'ours', 'files'),)))
    stage.install()

    assert report_of(stage)['replaced'] == ['etc/ovca-release']
    assert differing(stage.root, stage.image.shared, '1.1.0', None) == []
    (stage.root / 'usr/bin/ovcad').write_text('damaged')
    assert differing(stage.root, stage.image.shared, '1.1.0', None) == ['mgmt_image/usr/bin/ovcad']


def test_a_master_of_before_site_items_still_gives_the_files(stage, monkeypatch):
    stage.arm()
    monkeypatch.setattr('ovca.provision.boot.encode_file', old_form)

    stage.install()

    assert (stage.root / 'etc/ovca.conf').read_bytes() == b'[cluster]\n'
    assert [(row['name'], row['outcome']) for row in report_of(stage)['items']] == [('files', 'carried over')]


def old_form(file):
    return {key: value for key, value in encode_file(file).items() if key in ('path', 'mode', 'base64')}


def test_a_refused_grant_touches_nothing(stage):
    stage.arm()
    stage.authority.disarm('mn2')

    done = stage.install()

    assert (done.returncode, stage.untouched()) == (3, True)
    assert 'no install is armed' in done.stderr


def test_a_stale_boot_token_touches_nothing(stage):
    grant = stage.arm()
    stale = stage.order.boot_token
    stage.authority.boot('52:54:00:00:00:01')

    done = stage.install(boot_token=stale)

    assert (done.returncode, stage.untouched(), grant.consumed) == (3, True, False)


def test_another_certificate_gets_nothing_sent_and_touches_nothing(stage):
    grant = stage.arm()
    received = bytearray()
    certificate = self_signed('impostor')
    context = certificate.context()
    listener = socket.create_server(('127.0.0.1', 0))

    def listen() -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as secured:
            while data := secured.recv(4096):
                received.extend(data)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    done = stage.install(tls_url=f'https://127.0.0.1:{listener.getsockname()[1]}')
    thread.join(10)
    listener.close()

    assert (done.returncode, stage.untouched(), bytes(received), grant.asked) == (3, True, b'', 0)
    assert 'another certificate' in done.stderr


def test_no_boot_service_touches_nothing(stage):
    stage.arm()
    stage.tls.stop()

    done = stage.install()

    assert (done.returncode, stage.untouched()) == (3, True)


def test_a_lost_reply_is_asked_again_with_the_same_nonce(stage, monkeypatch):
    grant = stage.arm()
    asks: list[GrantAsk] = []
    consume = stage.authority.consume

    def losing(ask: GrantAsk) -> Granted:
        asks.append(ask)
        granted = consume(ask)
        if len(asks) < 3:
            raise OSError('the reply is lost')  # the server answers 500: consumed, and the installer does not know it
        return granted

    monkeypatch.setattr(stage.authority, 'consume', losing)
    done = stage.install(patience=20)

    assert done.returncode == 0, done.stderr
    assert len({ask.nonce for ask in asks}) == 1
    assert (grant.asked, grant.written) == (3, True)
    assert json.loads(stage.evidence().read_text())['token'] == grant.token


def test_the_same_nonce_gets_the_same_token_and_another_is_refused(stage):
    stage.arm()
    identity = {'node': 'mn2', 'update': 7, 'attempt': 1}
    body = {'boot_token': stage.order.boot_token, 'digest': stage.order.digest, 'boot_id': ''}
    pin = stage.order.tls_url, stage.order.tls_fingerprint
    first = Service(*pin, {**identity, 'nonce': 'a' * 64})

    answers = [first.post('grant', body) for _ in range(2)]

    assert answers[0] == answers[1]
    with pytest.raises(Denied, match='another run'):
        Service(*pin, {**identity, 'nonce': 'b' * 64}).post('grant', body)


def test_a_second_run_after_the_grant_is_consumed_touches_nothing(stage):
    stage.arm()
    assert stage.install().returncode == 0
    before = stage.evidence().read_bytes()

    done = stage.install()

    assert (done.returncode, stage.evidence().read_bytes()) == (3, before)


def test_the_reply_to_written_may_be_lost(stage, monkeypatch):
    stage.arm()

    def gone(*_: object) -> None:
        raise GrantRefused('mn2: this node is not the acting master')

    monkeypatch.setattr(stage.authority, 'written', gone)
    done = stage.install()

    assert (done.returncode, stage.evidence().exists()) == (0, True)


def test_a_damaged_file_in_the_iso_fails_without_record_or_token(stage):
    grant = stage.arm()
    data = stage.image.iso.read_bytes()
    stage.image.iso.write_bytes(data.replace(b'd' * 300_000, b'd' * 299_999 + b'e'))

    done = stage.install()

    assert (done.returncode, stage.installed().exists(), stage.evidence().exists()) == (1, False, False)
    assert grant.failed == 'mgmt_image/usr/lib/data is damaged: its digest is not the one that its image lists'
    assert not grant.written


def test_a_list_that_the_manifest_does_not_name_touches_nothing(stage):
    grant = stage.arm()
    listing = stage.image.iso.parent / 'files.json'
    listing.write_bytes(listing.read_bytes() + b' ')

    done = stage.install()

    assert (done.returncode, stage.untouched(), grant.consumed) == (3, True, False)


def test_an_image_of_another_digest_touches_nothing(stage):
    grant = stage.arm()

    done = stage.install(digest='0' * 64)

    assert (done.returncode, stage.untouched(), grant.consumed) == (3, True, False)


def test_a_short_iso_touches_nothing(stage):
    grant = stage.arm()
    stage.image.iso.write_bytes(stage.image.iso.read_bytes()[:-4096])

    done = stage.install()

    assert (done.returncode, stage.untouched(), grant.consumed) == (3, True, False)


@pytest.mark.parametrize('other', [{}, {'real': ''}], ids=['marker', 'real but not mounted'])
def test_a_folder_without_the_marker_is_never_emptied(stage, other):
    grant = stage.arm()
    (stage.root / '.ovca-lab').unlink()

    done = stage.install(**other)

    assert (done.returncode, stage.untouched(), grant.consumed) == (3, True, False)


def test_a_root_that_holds_the_shared_storage_is_never_emptied(stage):
    grant = stage.arm()
    (stage.image.shared.parent / '.ovca-lab').touch()

    done = stage.install(root=stage.image.shared.parent)

    assert (done.returncode, stage.image.iso.exists(), grant.consumed) == (3, True, False)
    assert 'lies inside' in done.stderr


def test_a_site_file_that_leaves_the_root_fails_before_the_wipe(stage):
    grant = stage.arm(SiteBundle((SiteFile('../outside', 0o644, b''),)))

    done = stage.install()

    assert (done.returncode, stage.untouched()) == (1, True)
    assert 'leaves the root folder' in (grant.failed or '')
    assert not (stage.root.parent / 'outside').exists()


def test_a_disk_that_cannot_be_made_the_boot_device_gets_no_token(stage):
    grant = stage.arm()

    done = stage.install(disk_boot_command='false')

    assert (done.returncode, stage.evidence().exists()) == (1, False)
    assert 'boot device' in (grant.failed or '')


def test_the_disk_is_the_boot_device_before_the_token_is_written(stage):
    stage.arm()
    note = stage.root.parent / 'note'

    done = stage.install(disk_boot_command=f'sh -c "ls {stage.root}/var/lib/ovca > {note}"')

    assert (done.returncode, note.read_text(), stage.evidence().exists()) == (0, 'site-report.json\n', True)


def test_progress_is_told_and_its_failure_changes_nothing(stage, monkeypatch):
    grant = stage.arm()
    told = []

    def refuse(*facts: object) -> None:
        told.append(facts)
        raise GrantRefused('no')

    monkeypatch.setattr(stage.authority, 'progress', refuse)
    with Reporter(Service(stage.order.tls_url, stage.order.tls_fingerprint, identity_of(stage))) as reporter:
        for percent in range(100):
            reporter.tell(percent, 'unpacking')
        until(lambda: told)
        done = stage.install()

    assert (done.returncode, grant.written) == (0, True)
    assert told[0][:3] == ('mn2', 7, 1)
    assert told[0][4:] == (99.0, 'unpacking')


def test_progress_that_nobody_hears_does_not_hold_an_install_up(stage):
    stage.arm()
    stage.tls.stop()

    with Reporter(Service(stage.order.tls_url, stage.order.tls_fingerprint, identity_of(stage))) as reporter:
        reporter.tell(1, 'wiping')

    assert not reporter.running


def test_no_secret_is_said(stage):
    grant = stage.arm()

    stage.install()
    stage.install()

    said = ''.join(stage.outputs)
    assert grant.nonce and grant.nonce not in said
    assert grant.token and grant.token not in said
    assert stage.order.boot_token not in said
    assert grant.nonce not in ''.join(p.read_text(errors='replace') for p in stage.root.rglob('*') if p.is_file())


def test_a_console_that_is_gone_stops_no_install(stage):
    grant = stage.arm()
    command = [sys.executable, '-I', '-S', '-B', str(stage.program), *stage.words()]

    with Path('/dev/full').open('w') as console:
        code = subprocess.run(command, stdout=console, stderr=console, timeout=60, check=False, cwd='/').returncode

    assert (code, grant.written, stage.evidence().is_file()) == (0, True, True)


def test_a_boot_token_may_begin_with_a_dash(stage, monkeypatch):
    monkeypatch.setattr('ovca.provision.fake.secrets.token_urlsafe', lambda _: '--real')
    grant = stage.arm()

    done = stage.install()

    assert (done.returncode, grant.written) == (0, True), done.stderr


def test_facts_that_an_installer_does_not_know_are_passed_over(stage):
    stage.arm()

    done = stage.install(something_newer='value')

    assert done.returncode == 0


def test_an_order_may_come_on_the_kernels_command_line(stage):
    grant = stage.arm()
    words = stage.words()
    pairs = zip(words[::2], words[1::2], strict=True)
    line = ' '.join(f'ovca.{key[2:].replace("-", "_")}={value}' for key, value in pairs)
    cmdline = stage.root.parent / 'cmdline'
    cmdline.write_text(f'BOOT_IMAGE=vmlinuz quiet {line}\n')

    stage.words = lambda **_: ['--kernel-command-line', str(cmdline)]
    done = stage.install()

    assert (done.returncode, grant.written) == (0, True), done.stderr
