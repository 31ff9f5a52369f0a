"""What ends with both nodes as they were: the stories share one appliance, and each leaves it as it found it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import minisign
import pytest

from tests.functional.conftest import Appliance, appliance_in
from tests.stock import Stock

pytestmark = [
    pytest.mark.functional,
    pytest.mark.extra('lab'),
    pytest.mark.timeout(240),
    pytest.mark.xdist_group('standing'),
]


@pytest.fixture(scope='module')
def lab(tmp_path_factory: pytest.TempPathFactory, stocked: Stock) -> Iterator[Appliance]:
    """Two nodes with 1.0.0 on SQLite, for all stories here."""
    yield from appliance_in(tmp_path_factory.mktemp('standing') / 'lab', stocked)


@pytest.fixture
def appliance(lab: Appliance) -> Appliance:
    """The same, healthy again after the story before."""
    lab.ready()
    return lab


@contextmanager
def changed(appliance: Appliance, name: str, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """A file on both nodes' disks is another one for a while: either node may lead, when a restart takes long."""
    before = {}
    for node in appliance.lab.spec.nodes:
        before[node.root / name] = (node.root / name).read_bytes()
    for path, content in before.items():
        path.write_bytes(change(content))
    try:
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def restart(appliance: Appliance) -> None:
    """Both services start anew."""
    for node in appliance.lab.spec.nodes:
        appliance.lab.kill_service(node.name)
    appliance.ready()


def published(appliance: Appliance, version: str) -> Path:
    """Where an image is when it is published."""
    return Path(appliance.lab.spec.shared / 'mgmt_image' / version)


def test_a_wrong_signature_is_refused_before_anything_is_published(appliance: Appliance) -> None:
    bundle = appliance.lab.make_image('1.0.1')
    foreign = bytes(minisign.KeyPair.generate().public_key)

    with changed(appliance, 'etc/ovca/keys/lab.pub', lambda _: foreign):
        answer = appliance.answer(appliance.request('download', uri=str(bundle)))

    assert answer.state == 'failed'
    assert 'signature' in answer.error
    assert answer.exit_code == 4
    assert '1.0.1' not in appliance.images()
    assert not published(appliance, '1.0.1').exists()


def test_a_full_disk_ends_the_download_and_leaves_no_image(appliance: Appliance) -> None:
    bundle = appliance.lab.make_image('1.0.2')
    reserve = b'space_reserve = %d' % 2**50

    with changed(appliance, 'etc/ovca.conf', lambda conf: conf.replace(b'space_reserve = 0', reserve)):
        restart(appliance)
        answer = appliance.answer(appliance.request('download', uri=str(bundle)))
    restart(appliance)

    assert answer.state == 'failed'
    assert 'bytes free' in answer.error
    assert '1.0.2' not in appliance.images()
    assert not published(appliance, '1.0.2').exists()


def test_a_kill_in_the_middle_of_a_download_leaves_no_image_and_the_service_goes_on(appliance: Appliance) -> None:
    bundle = appliance.lab.make_image('1.0.3', files={'usr/share/large': os.urandom(30_000_000).hex()})
    request = appliance.request('download', uri=str(bundle))
    work = appliance.lab.spec.shared / '.ovca-staging/work'
    appliance.until('the download is under way', lambda: work.is_dir() and any(work.rglob('*.iso')))

    appliance.lab.kill_service(appliance.master)

    assert '1.0.3' not in appliance.images()
    answer = appliance.answer(request)
    assert answer.state == 'done', answer.error
    assert '1.0.3' in appliance.images()
    assert not work.exists()


def test_downloading_an_image_that_is_here_is_no_error(appliance: Appliance) -> None:
    bundle = str(appliance.lab.make_image('1.0.4'))

    first, second = (appliance.answer(appliance.request('download', uri=bundle)) for _ in range(2))

    assert (first.state, second.state) == ('done', 'done'), second.error
    assert first.result == second.result


def test_an_abort_before_the_wipe_changes_nothing(appliance: Appliance) -> None:
    master, standby = appliance.master, appliance.standby
    appliance.lab.set_vice(standby, 'stuck_on', True)  # the power cycle never happens, so nothing is wiped
    appliance.request('update', uri=appliance.serve('1.1.0'))
    appliance.in_state('INSTALL_1')

    appliance.request('abort')

    update: Any = appliance.ended()
    appliance.lab.set_vice(standby, 'stuck_on', None)
    assert update.state == 'ABORTED', appliance.story()
    assert appliance.wiped() == []
    assert [appliance.version(n) for n in (master, standby)] == ['1.0.0', '1.0.0']


def test_a_change_is_refused_on_the_standby_and_reading_works_there(appliance: Appliance) -> None:
    master, standby = appliance.master, appliance.standby

    refused = appliance.ovca(standby, 'download', 'http://127.0.0.1:1/x.iso.zip')
    read = appliance.ovca(standby, 'node-list', '-f', 'json')

    assert refused.returncode == 7
    assert master in refused.stderr
    assert {row['name'] for row in json.loads(read.stdout)} == {master, standby}
