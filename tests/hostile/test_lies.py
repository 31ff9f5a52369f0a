"""Nodes and neighbours that lie to the boot service: no wipe and no site settings without the right, and no secret."""

from __future__ import annotations

import itertools
import json
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ovca.db.models import Base, InstallGrant
from ovca.provision.client import Impostor, Service
from ovca.provision.tls import self_signed
from ovca.remaster import evidence
from ovca.remaster.grants import evidence_token, hashed
from tests.hostile.besieged import MAC, Besieged, leaks
from tests.hostile.conftest import Besiege
from tests.hostile.sockets import asked, connect, until
from tests.operated import NEW

NONCE = '5' * 64
LOCAL = (200, b'local\n')


def tables(besieged: Besieged) -> str:
    """All that the database holds, as text."""
    with besieged.database.read() as session:
        return '\n'.join(
            repr(tuple(row)) for table in Base.metadata.sorted_tables for row in session.execute(select(table))
        )


# Whoever has no right gets none.


def test_an_honest_node_is_installed_and_gets_its_settings_once(besieged: Besieged) -> None:
    ask = besieged.ask(besieged.order())

    status, answer = besieged.post('grant', ask)

    assert status == 200
    assert leaks(answer) != []
    assert besieged.wiped() == 1
    assert besieged.get(f'/boot/{MAC}') == LOCAL


@pytest.mark.parametrize('mac', ['52:54:00:00:00:03', '52:54:00:00:00:99', '00:00:00:00:00:00', 'ff-ff-ff-ff-ff-ff'])
def test_a_machine_with_another_card_boots_its_disk(untouched: Besieged, mac: str) -> None:
    before = tables(untouched)

    assert untouched.get(f'/boot/{mac}') == LOCAL
    assert tables(untouched) == before


@pytest.fixture
def bound(besieged: Besieged) -> Besieged:
    """The configuration says which address the node has."""
    besieged.operated.configure('mn1', '[provision]\nboot_address = mn1:127.0.0.3, mn2:127.0.0.2\n')
    besieged.desk.conf = besieged.operated.service().conf
    return besieged


def test_an_order_is_given_to_the_address_of_the_node_only(bound: Besieged) -> None:
    before = tables(bound)

    answers = [asked(bound.plain, f'/boot/{MAC}', source=f'127.0.0.{number}') for number in (1, 3)]

    assert answers == [LOCAL] * 2
    assert tables(bound) == before, 'the token of the node itself is not made void by others'
    assert asked(bound.plain, f'/boot/{MAC}', source='127.0.0.2')[1].startswith(b'install')


def test_a_grant_and_site_settings_go_to_the_address_of_the_node_only(bound: Besieged) -> None:
    order = bound.desk.boot(MAC, '127.0.0.2')
    assert order is not None
    ask = bound.ask(order)

    stranger, node = bound.post('grant', ask), bound.post('grant', ask, source='127.0.0.2')

    assert (stranger[0], leaks(stranger[1])) == (403, [])
    assert (node[0], len(leaks(node[1]))) == (200, 1)


LIES: dict[str, dict[str, Any]] = {
    'another-node': {'node': 'mn3'},
    'the-master': {'node': 'mn1'},
    'no-node': {'node': ''},
    'a-node-that-is-a-path': {'node': '../../elsewhere'},
    'a-node-that-is-an-absolute-path': {'node': '/etc'},
    'a-node-of-many-lines': {'node': 'mn2\nERROR: all is lost'},
    'a-node-without-end': {'node': 'x' * 50000},
    'a-node-that-no-database-takes': {'node': 'mn2\0\ud800'},
    'an-earlier-update': {'update': 0},
    'an-update-to-come': {'update': 2},
    'an-update-that-no-database-takes': {'update': 10**30},
    'an-update-that-is-no-number': {'update': float('inf')},
    'an-earlier-attempt': {'attempt': 0},
    'an-attempt-to-come': {'attempt': 2},
    'an-attempt-that-no-database-takes': {'attempt': -(2**70)},
    'another-image': {'digest': 'c' * 64},
    'no-token': {'boot_token': ''},
    'no-token-at-all': {'boot_token': None},
    'a-token-that-was-guessed': {'boot_token': 'x' * 32},
    'a-token-that-is-a-list': {'boot_token': ['x']},
    'no-nonce': {'nonce': None},
    'a-nonce-that-can-be-guessed': {'nonce': '1'},
}


@pytest.mark.parametrize('lie', LIES)
def test_a_lie_gets_no_grant(untouched: Besieged, caplog: pytest.LogCaptureFixture, lie: str) -> None:
    caplog.set_level(logging.INFO)
    ask = untouched.ask(untouched.order(), **LIES[lie])
    before = tables(untouched)

    status, answer = untouched.post('grant', ask)

    assert status in (400, 403)
    assert untouched.wiped() == 0
    assert tables(untouched) == before, 'a lie leaves nothing behind'
    assert leaks(answer, str(untouched.shared)) == []
    assert len(answer) < 1000
    assert all(len(line) < 1000 and line.isprintable() for line in caplog.messages)
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.fixture(scope='module')
def installing(tmp_path_factory: pytest.TempPathFactory, besiege: Besiege) -> tuple[Besieged, dict[str, Any]]:
    """The honest installer has begun; with what it says of itself."""
    made = besiege(tmp_path_factory.mktemp('installing'))
    ask = made.ask(made.order(), nonce=NONCE)
    assert made.post('grant', ask)[0] == 200
    return made, ask


REPORTS: dict[str, dict[str, Any]] = {'progress': {'percent': 50, 'text': 'x'}, 'written': {}, 'failed': {'text': 'x'}}


TOLD = [lie for lie in LIES if not {'boot_token', 'digest'} & set(LIES[lie])]
"""The lies that a report can tell."""


@pytest.mark.parametrize('lie', [*TOLD, 'another-nonce'])
@pytest.mark.parametrize('name', REPORTS)
def test_a_lie_is_no_report(
    installing: tuple[Besieged, dict[str, Any]], caplog: pytest.LogCaptureFixture, name: str, lie: str
) -> None:
    besieged, honest = installing
    before = tables(besieged)

    status, answer = besieged.post(name, {**honest, **REPORTS[name], **LIES.get(lie, {'nonce': '6' * 64})})

    assert status in (400, 403)
    assert tables(besieged) == before
    assert len(answer) < 1000
    assert all(len(line) < 1000 and line.isprintable() for line in caplog.messages)
    assert [record for record in caplog.records if record.exc_info] == []


# Site settings leave by TLS, with the grant, to the nonce that consumed it; and not otherwise.


@pytest.mark.parametrize(
    ('tls', 'armed', 'token', 'nonce'),
    [*itertools.product([True, False], repeat=4)],
    ids=lambda on: 'yes' if on else 'no',
)
def test_site_settings_need_tls_a_grant_its_token_and_a_nonce(
    besieged: Besieged, tls: bool, armed: bool, token: bool, nonce: bool
) -> None:
    ask = besieged.ask(
        besieged.order(), **({} if token else {'boot_token': 'x' * 32}), **({} if nonce else {'nonce': '1'})
    )
    if not armed:
        besieged.change(state='VERIFY_1')

    status, answer = besieged.post('grant', ask, besieged.tls if tls else besieged.plain)

    assert (status == 200) == (leaks(answer) != []) == (besieged.wiped() == 1) == (tls and armed and token and nonce)


def test_the_settings_are_nowhere_else(besieged: Besieged, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    order = besieged.order()
    ask = besieged.ask(order, nonce=NONCE)
    answer = json.loads(besieged.post('grant', ask)[1])
    others = [
        *(besieged.get(path, besieged.status)[1] for path in ('/v1/status', '/v1/update', '/v1/machine', '/metrics')),
        *(
            besieged.get(path)[1]
            for path in ('/.ovca-site/mn2/site.json', '/image/1.1.0/../../.ovca-site/mn2/site.json')
        ),
        besieged.post('site', {}, besieged.status)[1],
        besieged.post('written', {**ask, 'nonce': '6' * 64})[1],
        besieged.post('written', ask)[1],
    ]
    own = (NONCE, order.boot_token, answer['evidence_token'])

    assert [leaks(other, *own) for other in others] == [[]] * len(others)
    assert leaks(tables(besieged), *own) == []
    assert leaks(caplog.text, *own) == []
    assert leaks(repr(order) + str(order), *own) == []


def test_settings_that_are_only_named_like_a_nodes_are_not_read(besieged: Besieged) -> None:
    besieged.save_site('../elsewhere')
    order = besieged.order()

    answers = [
        besieged.post('grant', besieged.ask(order, node=node)) for node in ('../elsewhere', str(besieged.shared))
    ]

    assert [status for status, _ in answers] == [400, 400]
    assert [leaks(answer, 'site.json') for _, answer in answers] == [[], []]


def test_that_settings_are_missing_is_told_only_to_who_has_the_token(besieged: Besieged) -> None:
    (besieged.shared / '.ovca-site/mn2/site.json').unlink()
    order = besieged.order()

    stranger = besieged.post('grant', besieged.ask(order, boot_token='x' * 32))
    node = besieged.post('grant', besieged.ask(order))

    assert (stranger[0], node[0]) == (403, 503)
    assert leaks(node[1], str(besieged.shared)) == []
    assert b'[no-site-files]' in node[1]
    assert besieged.wiped() == 0, 'it would come up without them'


@pytest.mark.parametrize('name', ['grant', 'progress', 'written', 'failed'])
def test_without_tls_nothing_is_answered(untouched: Besieged, name: str) -> None:
    body = json.dumps(untouched.ask_nothing()).encode()
    head = f'POST /v1/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n'.encode()

    assert untouched.post(name, body, untouched.plain)[0] == 404
    assert b'HTTP/1.1 2' not in untouched.raw(untouched.tls, head + body)
    assert untouched.alive()


def test_an_installer_tells_an_impostor_nothing(besieged: Besieged) -> None:
    heard = bytearray()
    impostor = socket.create_server(('127.0.0.1', 0))
    impostor.settimeout(20)

    def listen() -> None:
        context = self_signed('127.0.0.1').context()
        with suppress(OSError), context.wrap_socket(impostor.accept()[0], server_side=True) as connection:
            while piece := connection.recv(65536):
                heard.extend(piece)

    thread = threading.Thread(target=listen)
    thread.start()
    order = besieged.order()
    service = Service(
        f'https://127.0.0.1:{impostor.getsockname()[1]}', order.tls_fingerprint, {'nonce': NONCE, 'node': 'mn2'}
    )

    with pytest.raises(Impostor):
        service.post('grant', {'boot_token': order.boot_token})
    thread.join()
    impostor.close()

    assert heard == b''


# Once is once.


def test_of_many_that_have_the_token_one_gets_the_grant(besieged: Besieged) -> None:
    order = besieged.order()
    answers: list[tuple[int, bytes]] = []

    def one() -> None:
        answers.append(besieged.post('grant', besieged.ask(order)))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(status for status, _ in answers) == [200] + [403] * 7
    assert sum(bool(leaks(answer)) for _, answer in answers) == 1
    assert besieged.wiped() == 1


def test_a_token_that_was_stolen_before_the_node_asked_again_is_void(besieged: Besieged) -> None:
    stolen = besieged.order()
    honest = besieged.order()

    assert besieged.post('grant', besieged.ask(stolen))[0] == 403
    assert besieged.post('grant', besieged.ask(honest))[0] == 200


def test_a_lost_reply_may_be_asked_for_again_and_is_the_same(besieged: Besieged) -> None:
    ask = besieged.ask(besieged.order(), nonce=NONCE)
    first = besieged.post('grant', ask)
    before = tables(besieged)

    assert besieged.post('grant', ask) == first
    assert tables(besieged) == before


AFTER: dict[str, Callable[[Besieged], None]] = {
    'the-next-attempt': lambda b: b.operated.entry(b.update, 'mn2', attempt=2),
    'the-end-of-the-update': lambda b: b.change(state='FAILED_DEGRADED'),
    'the-proof': lambda b: b.change(state='VERIFY_1'),
    'the-commit-point': lambda b: b.change(state='INSTALL_2'),
    'another-update': lambda b: b.next_update(),
}


@pytest.mark.parametrize('after', AFTER)
def test_a_grant_that_is_played_again_later_is_refused(besieged: Besieged, after: str) -> None:
    ask = besieged.ask(besieged.order(), nonce=NONCE)
    besieged.post('grant', ask)
    AFTER[after](besieged)

    status, answer = besieged.post('grant', ask)

    assert (status, leaks(answer)) == (403, [])
    assert besieged.wiped() == 1


@pytest.mark.parametrize('void', ['revoked', 'expired', 'of an older epoch', 'not the master any more'])
def test_a_grant_that_is_void_is_not_given(besieged: Besieged, void: str) -> None:
    ask = besieged.ask(besieged.order())
    with besieged.database.write() as session:
        grant, now = session.scalars(select(InstallGrant)).one(), besieged.database.now(session)
        if void == 'revoked':
            grant.revoked_at = now
        elif void == 'expired':
            grant.expires_at = now
        elif void == 'of an older epoch':
            grant.epoch = 2
    if void == 'not the master any more':
        besieged.epoch = None

    status, answer = besieged.post('grant', ask)

    assert (status, leaks(answer), besieged.wiped()) == (403, [], 0)


def test_the_master_gives_no_grant_for_itself(besieged: Besieged) -> None:
    ask = besieged.ask(besieged.order(), node='mn1')
    besieged.operated.entry(besieged.update, 'mn1')
    besieged.arm('mn1')
    besieged.change(first='mn1', second='mn2')
    besieged.save_site('mn1')
    with besieged.database.write() as session:
        for grant in session.scalars(select(InstallGrant)):
            grant.boot_token_hash = hashed(ask['boot_token'])

    assert besieged.post('grant', ask)[0] == 403
    assert besieged.wiped() == 0


def test_who_plays_a_grant_again_and_again_is_in_the_journal_once(besieged: Besieged) -> None:
    order = besieged.order()
    ask = besieged.ask(order, nonce=NONCE)
    besieged.post('grant', ask)
    besieged.post('written', ask)

    answers = [besieged.post('grant', besieged.ask(order))[0] for _ in range(5)]

    assert answers == [403] * 5
    assert len([line for line in besieged.journal() if 'another nonce' in line]) == 1


def test_what_an_installer_says_disturbs_no_terminal(besieged: Besieged) -> None:
    ask = besieged.ask(besieged.order(), nonce=NONCE, boot_id='\x1b[2J\0')
    besieged.post('grant', ask)

    for name in ('progress', 'failed'):
        assert (
            besieged.post(name, {**ask, 'percent': 1, 'text': 'a\x1b]0;b\x07\0\n\u202e\ud800c' + 'x' * 9000})[0] == 200
        )

    entry, grant = besieged.entry(), besieged.grants()[0]
    for text in (entry.step_detail, grant.failed, grant.boot_id, *besieged.journal()):
        assert text is not None
        assert text.isprintable()
        assert len(text) <= 600


# Evidence of something else.


PROOFS: dict[str, dict[str, Any]] = {
    'of-another-attempt': {'attempt': 2},
    'of-another-update': {'update': 99},
    'of-another-node': {'node': 'mn1'},
    'of-another-nonce': {'token': evidence_token('6' * 64, 'x')},
    'without-a-token': {'token': ''},
    'that-is-no-text': {'token': 7},
}


@pytest.mark.parametrize('proof', [None, *PROOFS])
def test_only_the_evidence_of_this_attempt_finalises_an_entry(
    besieged: Besieged, tmp_path: Path, proof: str | None
) -> None:
    ask = besieged.ask(besieged.order(), nonce=NONCE)
    token = json.loads(besieged.post('grant', ask)[1])['evidence_token']
    besieged.post('written', ask)
    root = tmp_path / 'root'
    honest = {'update': besieged.update, 'node': 'mn2', 'attempt': 1, 'token': token}
    records = {
        evidence.INSTALLED: {'version': '1.1.0', 'digest': NEW, 'files_digest': None},
        evidence.EVIDENCE: {**honest, **(PROOFS[proof] if proof else {})},
    }
    for name, record in records.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(record))
    (besieged.shared / 'mgmt_image/1.1.0/files.json').write_text('{"format": 1, "files": []}')
    besieged.operated.configure('mn2', f'[provision]\nroot = {root}\n')
    conf = besieged.operated.service().conf

    try:
        done = evidence.finalise(besieged.database, conf, node='mn2', boot_id='b')
    except evidence.EvidenceRefused:
        done = False

    assert done == (besieged.entry().final_at is not None) == (proof is None)


# What strangers may not hold up, nor reach.


def test_a_stranger_does_not_wait_for_the_lease(besieged: Besieged, caplog: pytest.LogCaptureFixture) -> None:
    order = besieged.order()

    with besieged.database.write():  # the lock that renewing the lease needs
        boots = besieged.get('/boot/52:54:00:00:00:99')
        granted = besieged.post('grant', besieged.ask(order, boot_token='x' * 32))

    assert (boots, granted[0]) == (LOCAL, 403)
    assert [line for line in caplog.messages if 'locked' in line] == []


PATHS = [
    '/image/1.1.0/../../.ovca-site/mn2/site.json',
    '/image/1.1.0/%2e%2e/%2e%2e/.ovca-site/mn2/site.json',
    '/image/1.1.0/..%2f..%2f.ovca-site%2fmn2%2fsite.json',
    '/image/..%2f.ovca-site/mn2/site.json',
    '/image/.ovca-site/mn2/site.json',
    '/image/1.1.0//etc/passwd',
    '/image/1.1.0/%2fetc%2fpasswd',
    '/image/1.1.0/' + 'x' * 300,
    '/image/1.1.0/' + 'x/' * 300,
    '/image/1.1.0/%ff%fe',
    '/image/1.1.0/a%00b',
    '/image/1.1.0/x.iso/..',
    '/boot/../image/1.1.0/x.iso',
    '/boot/%35%32:54',
    '/files/..%2f..%2fetc%2fpasswd',
    '/v1/grant',
    '//',
]


@pytest.mark.parametrize('path', PATHS)
def test_no_path_leads_out_of_a_published_image(untouched: Besieged, path: str) -> None:
    status, answer = untouched.get(path)

    assert (status, leaks(answer, 'root:')) == (404, [])


@pytest.mark.parametrize('range_', ['0-1,3-4', ','.join(f'{n}-{n}' for n in range(0, 3000, 2)), '-1,-1,-1'])
def test_one_range_at_a_time(untouched: Besieged, range_: str) -> None:
    asked = f'GET /image/1.1.0/x.iso HTTP/1.1\r\nHost: x\r\nRange: bytes={range_}\r\nConnection: close\r\n\r\n'

    assert untouched.raw(untouched.plain, asked.encode(), shut=False).startswith(b'HTTP/1.1 416')


BODIES: dict[str, bytes] = {
    'nested': b'[' * 60000,
    'nested-objects': b'{"a":' * 12000,
    'a-number-without-end': b'{"update": ' + b'9' * 60000 + b'}',
    'not-utf-8': b'\xff\xfe\x00{',
    'another-encoding': '{"node": "mn2"}'.encode('utf-16'),
    'keys-without-end': b'{' + b','.join(b'"%d":1' % n for n in range(6000)) + b'}',
    'nan': b'{"node": NaN}',
    'nothing': b'',
}


@pytest.mark.parametrize('body', BODIES)
@pytest.mark.parametrize('name', ['grant', 'progress'])
def test_a_body_that_is_no_question_is_refused(
    untouched: Besieged, caplog: pytest.LogCaptureFixture, name: str, body: str
) -> None:
    assert untouched.post(name, BODIES[body])[0] == 400
    assert [record for record in caplog.records if record.name.startswith('ovca')] == []


@pytest.mark.parametrize('percent', [10**400, '1e999', 'nan', None, [], {}, True])
def test_a_percentage_that_is_none_is_refused(
    installing: tuple[Besieged, dict[str, Any]], caplog: pytest.LogCaptureFixture, percent: Any
) -> None:
    besieged, honest = installing

    assert besieged.post('progress', {**honest, 'percent': percent})[0] in (400, 200 if percent is True else 400)
    assert [record for record in caplog.records if record.exc_info] == []


def test_who_wakes_a_node_without_end_wakes_it_a_few_times(besieged: Besieged) -> None:
    before = besieged.woken

    with connect(besieged.status) as connection:
        connection.sendall(b'POST /v1/wake HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n' * 200)
        answers = b''
        while answers.count(b'204') < 200:
            answers += connection.recv(65536)
        at_once = besieged.woken - before

    assert 1 <= at_once <= 20
    assert until(lambda: besieged.woken - before > at_once), 'the last of them counts, too'


def test_a_flood_of_refusals_is_some_lines_in_the_log(untouched: Besieged, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(60):
        untouched.post('written', untouched.ask_nothing(), untouched.bare)

    told = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert 1 <= len(told) <= 2 * 20 + 1  # a minute may end meanwhile
