from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ovca.daemon.requests import AGAIN, Requests
from ovca.db.models import Request
from ovca.exceptions import DatabaseUnavailable, ImageError, Refused
from ovca.image import Store
from ovca.image.errors import DownloadRunning
from tests.operated import OLD, Operated
from tests.unit.daemon.conftest import Clerk, breaks, until


def test_the_operator_sees_the_class_and_the_id_of_the_masters_error(operated: Operated, clerk: Clerk) -> None:
    service = operated.service()
    number = service.submit('abort')

    clerk().step()

    with pytest.raises(Refused, match='there is no update to abort') as caught:
        service.wait(number)
    assert caught.value.id == 'no-abort'


def done(clerk: Requests, operated: Operated) -> Request:
    """Let the clerk take the next request, and wait until it has carried it out."""
    assert clerk.step()
    clerk.join(20)
    return operated.requests()[-1]


def files(operated: Operated, *versions: str) -> list[Path]:
    """Folders of images on the shared storage."""
    found = []
    for version in versions:
        for component in ('mgmt', 'ovm'):
            folder = operated.folder / 'shared' / f'{component}_image' / version
            (folder / 'tree').mkdir(parents=True)
            (folder / 'tree/file').write_text('x' * 100)
            found.append(folder)
    return found


def journal(operated: Operated) -> list[str]:
    return [event.detail for event in operated.service().journal(kind='image', limit=100)]


@contextmanager
def holder_of_images(operated: Operated) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that works on the images, until it is killed."""
    shared = operated.folder / 'shared'
    script = f'import sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\nfrom ovca.image import Store\n'
    script += f'with Store(Path({str(shared)!r})).lock():\n    print("locked", flush=True)\n    sys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b'locked\n'
        yield other
        other.kill()


@pytest.mark.parametrize(('age', 'waits'), [(3, False), (9, True), (20, False)])
def test_a_hand_over_waits_for_a_new_sign_of_life_of_a_node_that_has_had_little_to_say(
    operated: Operated, clerk: Clerk, age: int, waits: bool
) -> None:
    operated.silent(age)
    operated.service().submit('failover', epoch=3)
    master = clerk()

    taken = master.step()
    (before,) = operated.requests()
    operated.silent(0)

    assert taken is not waits
    assert before.state == ('open' if waits else 'failed')
    assert master.step() is waits, 'it was heard of, and nothing is to be waited for any more'
    assert operated.requests()[0].error == 'mn2 cannot take over: it is not heard of', 'so says the loop of this test'


def test_deleted_images_leave_neither_rows_nor_folders(operated: Operated, clerk: Clerk) -> None:
    operated.image('1.1.0').image('1.2.0', 'c' * 64).image('1.3.0', 'd' * 64)
    gone, left = files(operated, '1.1.0', '1.2.0'), files(operated, '1.3.0')
    operated.service().submit('image-delete', versions=['1.1.0', '1.2.0'])

    request = done(clerk(), operated)

    assert (request.state, request.result) == ('done', {'versions': ['1.1.0', '1.2.0'], 'bytes': 400})
    assert [image.version for image in operated.service().images()] == ['1.3.0']
    assert not any(folder.exists() for folder in gone)
    assert all(folder.exists() for folder in left)
    assert sorted(journal(operated)) == ['image 1.1.0 was deleted', 'image 1.2.0 was deleted']


def test_what_became_needed_meanwhile_stays_and_so_does_the_rest(operated: Operated, clerk: Clerk) -> None:
    operated.image('1.1.0').image('1.2.0', 'c' * 64)
    folders = files(operated, '1.1.0', '1.2.0')
    number = operated.service().submit('image-delete', versions=['1.2.0', '1.1.0'])
    operated.update('INSTALL_1')

    done(clerk(), operated)

    with pytest.raises(Refused, match=r'image 1\.1\.0 stays: update 1, which otto began at .*Z, is open') as caught:
        operated.service().wait(number)
    assert caught.value.id == 'image-kept'
    assert all(folder.exists() for folder in folders)
    assert len(operated.service().images()) == 2


def test_a_deletion_that_a_crash_cut_off_after_the_rows_is_finished_when_it_is_begun_again(
    operated: Operated, clerk: Clerk
) -> None:
    folders = files(operated, '1.1.0')
    operated.service().submit('image-delete', versions=['1.1.0'])

    request = done(clerk(), operated)

    assert (request.state, journal(operated)) == ('done', [])
    assert not any(folder.exists() for folder in folders)


def test_a_deleted_iso_goes_by_the_name_as_well_that_a_killed_download_has_left(
    operated: Operated, clerk: Clerk
) -> None:
    operated.image('1.1.0')
    iso, staging = files(operated, '1.1.0')[0] / 'x.iso', operated.folder / 'shared/.ovca-staging'
    iso.write_bytes(bytes(100_000))
    staging.mkdir(exist_ok=True)
    os.link(iso, staging / '0123456789abcdef.iso')
    for left in ('0123456789abcdef.iso.json', 'fedcba9876543210.iso'):
        (staging / left).touch()
    operated.service().submit('image-delete', versions=['1.1.0'])

    with iso.open('rb') as stream:
        request = done(clerk(), operated)

        assert request.state == 'done', request.error
        assert os.fstat(stream.fileno()).st_nlink == 0
    assert [path.name for path in staging.glob('*.iso*')] == ['fedcba9876543210.iso']  # of another download


def test_a_deletion_waits_for_a_download_of_another_process(operated: Operated, clerk: Clerk) -> None:
    operated.image('1.1.0')
    folders = files(operated, '1.1.0')
    number = operated.service().submit('image-delete', versions=['1.1.0'])

    with holder_of_images(operated) as other:
        master = clerk()
        assert master.step()
        until(lambda: 'notice' in (operated.requests()[-1].progress or {}) or operated.requests()[-1].error)
        waits = all(folder.exists() for folder in folders), [image.version for image in operated.service().images()]
        other.kill()
    master.join(20)

    assert waits == (True, ['1.1.0'])
    assert operated.service().wait(number).result == {'versions': ['1.1.0'], 'bytes': 200}
    assert journal(operated)[0].startswith(
        f'deletion {number} waits, as the images are still held by process {other.pid} on '
    )


def test_a_deletion_gives_up_when_the_images_stay_locked(
    operated: Operated, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.image('1.1.0')
    folders = files(operated, '1.1.0')
    number = operated.service().submit('image-delete', versions=['1.1.0'])

    def held(_: Store) -> NoReturn:
        raise DownloadRunning('request 1 on mn2')

    monkeypatch.setattr(Store, 'lock', held)
    monkeypatch.setattr('ovca.daemon.images.LETS_GO', -1)

    done(clerk(), operated)

    with pytest.raises(ImageError, match='another download is running') as caught:
        operated.service().wait(number)
    assert caught.value.id == 'download-running'
    assert all(folder.exists() for folder in folders)


def test_what_is_quick_does_not_wait_for_a_download(operated: Operated, clerk: Clerk) -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        first = operated.service().submit('download', uri=f'http://127.0.0.1:{silent.getsockname()[1]}/endless')
        second = operated.service().submit('download', uri='/none')
        third = operated.service().submit('abort')
        busy = clerk()

        assert busy.step()
        assert busy.step()
        assert not busy.step()

        states = {request.id: request.state for request in operated.requests()}
        assert (states[second], states[third]) == ('open', 'failed')
        operated.service().abort_download(first)
    busy.join(20)


@pytest.mark.parametrize(
    ('kind', 'args'), [('image-delete', {'versions': ['1.1.0']}), ('node-add', {'name': 'cn1', 'kind': 'compute'})]
)
def test_a_request_that_the_database_was_lost_for_is_begun_again(
    operated: Operated, clerk: Clerk, kind: str, args: dict[str, Any]
) -> None:
    operated.image('1.1.0')
    operated.service().submit(kind, **args)
    master = clerk()
    breaks(master.lease, 2)  # the first one takes the request

    states = [done(master, operated).state, done(master, operated).state]

    assert states == ['running', 'done'], operated.requests()[-1].error


def test_a_request_ends_although_its_error_is_no_text_that_a_database_takes(operated: Operated, clerk: Clerk) -> None:
    operated.service().submit('download', uri='file:///nowhere/of a script with \0.iso')
    master = clerk()

    request = done(master, operated)

    assert request.state == 'failed', 'it would be begun again for ever, and each other request wait for it'
    assert 'of a script with \\x00.iso' in str(request.error)
    assert not master.step()


@pytest.mark.parametrize(
    ('kind', 'args'),
    [
        ('update', {'uri': 'http://127.0.0.1:9/1.1.0.zip'}),
        ('activate', {'version': '1.1.0'}),
        ('reinstall', {'node': 'mn2'}),
        ('replace', {'node': 'mn2'}),
    ],
)
def test_a_node_that_is_alone_by_its_configuration_says_so_before_anything_is_done(
    operated: Operated, clerk: Clerk, kind: str, args: dict[str, str]
) -> None:
    operated.image('1.1.0')
    operated.config_file.write_text(operated.config_file.read_text().replace('peer = mn2\n', ''))
    number = operated.service().submit(kind, **args)

    done(clerk(), operated)

    with pytest.raises(Refused, match=r'there is no second management node.*; set \[cluster\] peer') as caught:
        operated.service().wait(number)
    assert caught.value.id == 'no-second-node'


def test_nodes_are_kept_by_requests(operated: Operated, clerk: Clerk) -> None:
    service, master = operated.service(), clerk()
    service.submit('node-add', name='cn1', kind='compute', bmc='https://192.0.2.31/')
    assert done(master, operated).state == 'done'
    service.submit('node-set', name='cn1', mac='52:54:00:00:00:31', bmc='')
    assert done(master, operated).state == 'done'
    node = service.node('cn1')
    service.submit('node-delete', name='cn1')
    assert done(master, operated).state == 'done'

    assert (node.kind, node.bmc, node.mac, node.health) == ('compute', None, '52:54:00:00:00:31', 'unknown')
    assert [n.name for n in service.nodes()] == ['mn1', 'mn2']
    assert [(e.kind, e.node, e.actor) for e in service.journal(limit=10)] == [('node', 'cn1', 'otto')] * 3


def test_a_node_that_became_alive_meanwhile_is_not_deleted(operated: Operated, clerk: Clerk) -> None:
    number = operated.service().submit('node-delete', name='mn2')

    done(clerk(), operated)

    with pytest.raises(Refused, match=r'it is alive; stop its ovca\.service first') as caught:
        operated.service().wait(number)
    assert caught.value.id == 'node-alive'


def test_the_oldest_images_beyond_keep_go_and_what_is_needed_stays(operated: Operated, clerk: Clerk) -> None:
    operated.image('1.0.0', OLD)  # what the nodes run
    for number in range(1, 6):
        operated.image(f'1.{number}.0', f'{number}' * 64)
    gone, left = files(operated, '1.1.0', '1.2.0'), files(operated, '1.0.0', '1.3.0', '1.4.0', '1.5.0')
    master = clerk()

    assert not master.step()
    master.join(20)

    assert [image.version for image in operated.service().images()] == ['1.5.0', '1.4.0', '1.3.0', '1.0.0']
    assert not any(folder.exists() for folder in gone)
    assert all(folder.exists() for folder in left)
    assert journal(operated) == [
        f'image {version} was deleted: it is older than the 3 that [image] keep says' for version in ('1.1.0', '1.2.0')
    ]


def test_a_retention_that_dies_behind_the_rows_leaves_nothing_that_the_next_cleaning_does_not_give_back(
    operated: Operated, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.image('1.0.0', OLD)
    for number in range(1, 5):
        operated.image(f'1.{number}.0', f'{number}' * 64)
    iso, staging = files(operated, '1.1.0')[0] / 'x.iso', operated.folder / 'shared/.ovca-staging'
    iso.write_bytes(bytes(100_000))
    staging.mkdir()
    os.link(iso, staging / '0123456789abcdef.iso')
    (staging / 'fedcba9876543210.iso').touch()  # of another download
    master = clerk()

    def dies(*_: object) -> NoReturn:
        raise DatabaseUnavailable('as if the service were killed here')

    monkeypatch.setattr(Store, 'remove', dies)
    with iso.open('rb') as stream:
        assert not master.step()
        master.join(20)
        Store(operated.folder / 'shared').clean([image.version for image in operated.service().images()])

        assert os.fstat(stream.fileno()).st_nlink == 0
    assert [path.name for path in staging.glob('*.iso*')] == ['fedcba9876543210.iso']


def test_images_are_counted_again_after_each_request_and_each_end_of_an_update(
    operated: Operated, clerk: Clerk
) -> None:
    operated.image('1.0.0', OLD)
    for number in range(1, 5):
        operated.image(f'1.{number}.0', f'{number}' * 64)
    update = operated.update('INSTALL_2', version='1.1.0', digest='1' * 64)
    master = clerk()

    def tidied() -> list[str]:
        assert not master.step()
        master.join(20)
        return [image.version for image in operated.service().images()]

    assert tidied() == ['1.4.0', '1.3.0', '1.2.0', '1.1.0', '1.0.0']

    operated.move(update, 'ABORTED', 'nothing was touched', reason='nothing was touched')
    assert tidied() == ['1.4.0', '1.3.0', '1.2.0', '1.0.0']

    operated.image('1.5.0', '5' * 64)
    assert tidied() == ['1.5.0', '1.4.0', '1.3.0', '1.2.0', '1.0.0'], 'nothing has happened that counts'
    operated.service().submit('abort')
    assert done(master, operated).state == 'failed'
    assert tidied() == ['1.5.0', '1.4.0', '1.3.0', '1.0.0']


def test_images_that_could_not_be_deleted_are_tried_again_although_nothing_happens(
    operated: Operated, clerk: Clerk, caplog: pytest.LogCaptureFixture
) -> None:
    operated.image('1.0.0', OLD)
    for number in range(1, 5):
        operated.image(f'1.{number}.0', f'{number}' * 64)
    now = [0.0]
    master = clerk(clock=lambda: now[0])

    def left() -> int:
        assert not master.step()
        master.join(20)
        return len(operated.service().images())

    with holder_of_images(operated):
        found = [left(), left()]
    told = caplog.text.count('are not deleted now')
    found.append(left())
    now[0] += AGAIN
    found.append(left())

    assert (found, told) == ([5, 5, 5, 4], 1)


def test_images_that_are_too_many_are_looked_for_when_an_update_ends_and_not_with_each_of_its_states(
    operated: Operated, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    master, looks = clerk(), list[int]()
    monkeypatch.setattr(master.images, 'retain', lambda epoch: looks.append(epoch) or [])

    def looked() -> int:
        looks.clear()
        for _ in range(3):
            assert not master.step()
            master.join(20)
        return len(looks)

    found = [looked()]
    number = operated.update('REQUESTED')
    found.append(looked())
    for state in ('INSTALL_1', 'VERIFY_1', 'PROVING', 'INSTALL_2', 'DONE'):
        operated.move(number, state, 'the next one')
        found.append(looked())

    assert found == [1, 1, 0, 0, 0, 0, 1]
