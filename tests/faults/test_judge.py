"""The judge takes what a good run leaves, and refuses each thing that a bad one could."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.facts import (
    Disk,
    EntryFact,
    Facts,
    GrantFact,
    Line,
    NodeFact,
    UpdateFact,
    Wipe,
    read_disk,
    told,
)
from tests.faults.judge import problems
from tests.faults.witness import Note

PATH = ('REQUESTED', 'INSTALL_1', 'VERIFY_1', 'PROVING', 'INSTALL_2', 'VERIFY_2', 'DONE')


def lease(number: int, at: float, node: str, epoch: int, detail: str) -> Line:
    return Line(number, at, 'lease', node, node, epoch, detail=f'{node} {detail}')


def state(number: int, at: float, before: str | None, after: str, epoch: int, actor: str) -> Line:
    return Line(number, at, 'state', actor, actor, epoch, 1, before, after)


def consumed(number: int, at: float, node: str, actor: str, epoch: int) -> Line:
    return Line(number, at, 'grant-consumed', node, actor, epoch, 1)


GOOD = Facts(
    holder='mn2',
    acting=True,
    epoch=2,
    nodes={'mn1': NodeFact('new', True, False, 'standby'), 'mn2': NodeFact('new', True, False, 'master')},
    disks={'mn1': Disk('1.1.0', 'new', (), (1, 1, 'b')), 'mn2': Disk('1.1.0', 'new', (), (1, 1, 'a'))},
    update=UpdateFact(1, 'DONE', 'new', 'old', 'mn2', 'mn1', True, True),
    entries=(EntryFact('mn1', True, 1, 'new'), EntryFact('mn2', True, 1, 'new')),
    grants=(GrantFact(1, 'mn2', 1, 20.0, 'a'), GrantFact(1, 'mn1', 1, 50.0, 'b')),
    journal=(
        lease(1, 1.0, 'mn1', 1, 'claimed the lease'),
        lease(2, 2.0, 'mn1', 1, 'acts as master: there is no peer'),
        state(3, 10.0, None, 'REQUESTED', 1, 'mn1'),
        state(4, 11.0, 'REQUESTED', 'INSTALL_1', 1, 'mn1'),
        consumed(5, 20.0, 'mn2', 'mn1', 1),
        state(6, 30.0, 'INSTALL_1', 'VERIFY_1', 1, 'mn1'),
        lease(7, 40.0, 'mn1', 1, 'stopped acting'),
        state(8, 40.5, 'VERIFY_1', 'PROVING', 1, 'mn1'),
        lease(9, 40.6, 'mn1', 2, 'handed the lease over to mn2'),
        lease(10, 41.0, 'mn2', 2, 'acts as master: the holder of epoch 1 was demoted'),
        state(11, 45.0, 'PROVING', 'INSTALL_2', 2, 'mn2'),
        consumed(12, 50.0, 'mn1', 'mn2', 2),
        state(13, 60.0, 'INSTALL_2', 'VERIFY_2', 2, 'mn2'),
        state(14, 61.0, 'VERIFY_2', 'DONE', 2, 'mn2'),
    ),
    notes=(Note('mn1', 'start', 2.1), Note('mn1', 'stop', 39.9), Note('mn2', 'start', 41.1)),
    serving=('mn2',),
    wipes=(Wipe('mn2', 20.1), Wipe('mn1', 50.1)),
    epochs=(1, 1, 2, 2),
    orders={'mn1': 1, 'mn2': 1},
)


def in_journal(*changes: Line) -> tuple[Line, ...]:
    """The good journal with these lines put in, in place of those of their numbers."""
    lines = {line.id: line for line in (*GOOD.journal, *changes)}
    return tuple(lines[number] for number in sorted(lines))


def without(*numbers: int) -> tuple[Line, ...]:
    return tuple(line for line in GOOD.journal if line.id not in numbers)


def ended(name: str, **more: object) -> UpdateFact:
    assert GOOD.update is not None
    return replace(GOOD.update, state=name, **more)  # type: ignore[arg-type]


def test_a_good_run_is_taken() -> None:
    assert problems(GOOD) == []


def test_a_power_cut_leaves_no_stop_and_is_taken() -> None:
    assert problems(replace(GOOD, notes=(GOOD.notes[0], GOOD.notes[2]))) == []


def test_an_old_node_may_lead_in_the_end_only_if_the_proven_one_did_not_come_back() -> None:
    late = Line(14, 61.0, 'alarm', 'mn2', 'mn2', 2, 1, 'VERIFY_2', 'FAILED_FORWARD', 'the target leads, and ...')
    other = replace(late, detail='the attempts are used up')
    old = replace(
        GOOD,
        update=ended('FAILED_FORWARD'),
        nodes={**GOOD.nodes, 'mn2': NodeFact('old', True, False, 'master')},
        disks={**GOOD.disks, 'mn2': Disk('1.0.0', 'old')},
    )

    assert problems(replace(old, journal=in_journal(late))) == []
    assert problems(replace(old, journal=in_journal(other))) != []


BAD = {
    'two serve at once': replace(GOOD, notes=(*GOOD.notes, Note('mn1', 'clash', 42.0))),
    'one ends to serve after the other began': replace(GOOD, notes=(GOOD.notes[0], GOOD.notes[2], GOOD.notes[1])),
    'one serves and does not lead': replace(GOOD, notes=(*GOOD.notes, Note('mn1', 'start', 55.0))),
    'one serves before it acts': replace(GOOD, notes=(Note('mn1', 'start', 1.5), *GOOD.notes[1:])),
    'the epoch falls in the journal': replace(
        GOOD, journal=in_journal(state(13, 60, 'INSTALL_2', 'VERIFY_2', 1, 'mn2'))
    ),
    'the epoch falls in the lease': replace(GOOD, epochs=(1, 2, 1)),
    'an epoch is taken twice': replace(GOOD, journal=in_journal(lease(15, 62, 'mn1', 2, 'claimed the lease'))),
    'a wipe without a grant': replace(GOOD, wipes=(*GOOD.wipes, Wipe('mn2', 55.0))),
    'a wipe before its grant': replace(GOOD, wipes=(Wipe('mn2', 19.0), GOOD.wipes[1])),
    'an order without a grant': replace(GOOD, orders={'mn1': 2, 'mn2': 1}),
    'a grant consumed and not told': replace(GOOD, journal=without(12)),
    'the holder is wiped': replace(GOOD, journal=in_journal(consumed(12, 50.0, 'mn1', 'mn1', 2))),
    'a grant of one that does not act': replace(GOOD, journal=in_journal(consumed(5, 20.0, 'mn2', 'mn3', 1))),
    'both without a system': replace(GOOD, both_blank=(51.0,)),
    'a damaged file': replace(GOOD, disks={**GOOD.disks, 'mn1': replace(GOOD.disks['mn1'], wrong=('usr/x',))}),
    'foreign evidence': replace(GOOD, disks={**GOOD.disks, 'mn1': replace(GOOD.disks['mn1'], evidence=(1, 2, 'b'))}),
    'a forged token': replace(GOOD, disks={**GOOD.disks, 'mn1': replace(GOOD.disks['mn1'], evidence=(1, 1, 'x'))}),
    'a transition told twice': replace(GOOD, journal=in_journal(state(15, 62.0, 'VERIFY_2', 'DONE', 2, 'mn2'))),
    'a transition not told': replace(GOOD, journal=without(13)),
    'the last transition not told': replace(GOOD, journal=without(14)),
    'final with another digest': replace(GOOD, entries=(EntryFact('mn1', True, 1, 'old'), GOOD.entries[1])),
    'final without a grant': replace(GOOD, entries=(EntryFact('mn1', True, 2, 'new'), GOOD.entries[1])),
    'the second wiped before the proof': replace(GOOD, journal=in_journal(consumed(6, 30.0, 'mn1', 'mn1', 1))),
    'the commit point is not in the row': replace(GOOD, update=ended('DONE', proven=False)),
    'nobody acts': replace(GOOD, acting=False),
    'the role does not run': replace(GOOD, serving=()),
    'the role runs on both': replace(GOOD, serving=('mn1', 'mn2')),
    'the master is blank': replace(GOOD, disks={**GOOD.disks, 'mn2': Disk()}),
    'the master runs something else': replace(
        GOOD, nodes={**GOOD.nodes, 'mn2': NodeFact('old', True, False, 'master')}
    ),
    'the update has not ended': replace(GOOD, update=ended('VERIFY_2', finished=False), journal=without(14)),
    'done with an old disk': replace(GOOD, disks={**GOOD.disks, 'mn1': Disk('1.0.0', 'old')}),
    'done and an entry open': replace(GOOD, entries=(EntryFact('mn1', False, None, None), GOOD.entries[1])),
    'done and the standby not ready': replace(
        GOOD, nodes={**GOOD.nodes, 'mn1': NodeFact('new', False, False, 'standby')}
    ),
    'rolled back on the new software': replace(GOOD, update=ended('FAILED_ROLLED_BACK')),
    'forward on the old software': replace(GOOD, update=ended('FAILED_FORWARD', digest='newer')),
    'no update, and disks have changed': replace(GOOD, update=None),
    'a secret is told': replace(GOOD, told=('the console of mn1 holds a secret in the clear',)),
}


@pytest.mark.parametrize('name', BAD)
def test_what_a_bad_run_leaves_is_refused(name: str) -> None:
    assert problems(BAD[name]) != []


def test_a_disk_is_compared_with_its_image_file_by_file(tmp_path: Path) -> None:
    root, image = tmp_path / 'root', tmp_path / 'shared/mgmt_image/1.1.0'
    image.mkdir(parents=True)
    (root / 'etc/ovca').mkdir(parents=True)
    (image / 'ovca.iso').write_bytes(b'an image')
    names = {'etc/a': b'one', 'etc/b': b'two', 'etc/c': b'three'}
    for name, content in names.items():
        (root / name).write_bytes(content)
    listed = [
        {'path': f'mgmt_image/{name}', 'sha256': hashlib.sha256(content).hexdigest()} for name, content in names.items()
    ]
    listed += [{'path': 'mgmt_image/etc/link', 'link': 'a'}, {'path': 'hmp_image/release', 'sha256': 'x'}]
    (image / 'files.json').write_text(json.dumps({'files': listed}))
    (root / 'etc/link').symlink_to('a')
    record = {'version': '1.1.0', 'digest': hashlib.sha256(b'an image').hexdigest()}
    (root / 'etc/ovca/installed.json').write_text(json.dumps(record))

    good = read_disk(root, tmp_path / 'shared')
    (root / 'etc/b').write_bytes(b'too')
    (root / 'etc/c').unlink()
    (root / 'etc/link').unlink()
    (root / 'etc/link').symlink_to('b')
    bad = read_disk(root, tmp_path / 'shared')
    (image / 'ovca.iso').write_bytes(b'another image')
    other = read_disk(root, tmp_path / 'shared')
    (root / 'etc/ovca/installed.json').unlink()

    assert good == Disk('1.1.0', record['digest'])
    assert bad.wrong == ('etc/b', 'etc/c', 'etc/link')
    assert len(other.wrong) == 4
    assert read_disk(root, tmp_path / 'shared') == Disk()


def test_secrets_are_found_in_the_clear_and_by_their_hashes() -> None:
    token = 'Zm9vYmFyYmF6cXV4-_0123456789'
    hashes = {hashlib.sha256(token.encode()).hexdigest()}

    found = list(told([('the log', f'GET /x?token={token} 200'), ('the journal', 'pass word1 ok')], ['word1'], hashes))

    assert [line.partition(' holds')[0] for line in found] == ['the log', 'the journal']
    assert token not in ''.join(found)
    assert list(told([('the log', 'nothing to see')], ['word1'], hashes)) == []
