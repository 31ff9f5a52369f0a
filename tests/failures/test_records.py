"""Failures of what is recorded: torn, half changed, out of order, or not what it says."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

import ovca.testing
from ovca import conf
from ovca.daemon.service import Ovcad
from ovca.db import schema
from ovca.db.models import Entry, Image, InstallGrant, Node, Update
from ovca.exceptions import OvcaError, SchemaError
from ovca.remaster import evidence
from ovca.remaster.grants import evidence_token, hashed
from tests.mastered import Master
from tests.operated import NEW, OLD, Operated

# F1: a state file is torn or emptied by a crash, and read as "there is no update".

CRASHING = """
import os, sys
from pathlib import Path
from ovca.files import write_json

fatal, calls = int(sys.argv[2]), 0

def watched(name, real):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == fatal:
            os._exit(9)
        done = real(*args, **kwargs)
        told = os.fstat(args[0]).st_mode & 0o170000 == 0o040000 if name == 'fsync' else ''
        print(name, told, flush=True)
        return done
    return call

for name in ('open', 'fsync', 'replace'):
    setattr(os, name, watched(name, getattr(os, name)))
os.rename = os.replace
write_json(Path(sys.argv[1]), {'state': 'new', 'padding': 'x' * 100_000})
"""


def crash(path: Path, fatal: int) -> subprocess.CompletedProcess[str]:
    """Write the file in a process that dies instead of its so many-th call of the system."""
    argv = [sys.executable, '-S', '-c', CRASHING, str(path), str(fatal)]
    root = Path(__file__).parents[2]
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(root)})


def test_f01_a_file_is_the_old_one_or_the_new_one_at_whatever_call_the_process_dies(tmp_path: Path) -> None:
    path = tmp_path / 'state.json'
    whole = crash(path, 0)
    assert whole.stderr == ''
    assert whole.stdout.split('\n')[:-1] == ['open ', 'fsync False', 'replace ', 'open ', 'fsync True']

    for fatal in range(1, 6):
        path.write_text('{"state": "old"}')
        assert crash(path, fatal).returncode == 9
        assert json.loads(path.read_bytes())['state'] == ('old' if fatal <= 3 else 'new'), fatal


@pytest.mark.parametrize('torn', [b'', b'{"version": "1.1.', b'[]', b'{}', b'\0' * 64])
def test_f01_a_torn_record_of_what_is_installed_stops_the_service(operated: Operated, torn: bytes) -> None:
    master = Master(operated)
    record = master.root / evidence.INSTALLED
    record.parent.mkdir(parents=True)
    record.write_bytes(torn)

    with pytest.raises(evidence.UnreadableRecord, match='re-install this node') as caught:
        Ovcad(master.conf)

    assert str(record) in str(caught.value)


def test_f01_a_torn_proof_is_an_alarm_and_no_proof(operated: Operated, caplog: pytest.LogCaptureFixture) -> None:
    master = proof(operated, digest=NEW)
    (master.root / evidence.EVIDENCE).write_bytes(b'')
    service = Ovcad(master.conf)

    service._prove()
    service.keeper.close()
    service.database.dispose()

    (alarm,) = [record.getMessage() for record in caplog.records if 'ALARM' in record.getMessage()]
    assert f'{master.root / evidence.EVIDENCE} cannot be read' in alarm
    assert master.entry('mn1').final_at is None


# F2: two records are changed without a transaction, and a crash between them is for ever.


class Crash(Exception):
    """The process ends here, as far as the database can see."""


def test_f02_a_hand_over_that_breaks_at_any_statement_has_changed_all_or_nothing(on_each: Operated) -> None:
    master = Master(on_each)
    on_each.update('VERIFY_1')
    on_each.entry(1, final_at=master.now(), final_attempt=1, final_digest=NEW, step='final')
    master.change(Node, 'mn2', running_digest=NEW)
    left = armed = 0

    def arm() -> None:
        nonlocal left
        left = armed

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OperationalError('the line is dead', {}, Crash())

    master.while_stopping = arm
    master.later(130)
    master.loop.step()  # the checks before the hand-over
    for engine in on_each.database.engines:
        event.listen(engine, 'before_cursor_execute', count)
    broken = 0
    for statement in range(1, 100):
        master.change(Node, 'mn2', epoch_seen=master.epoch, last_seen_at=master.now())
        before, armed = master.lease.read(), statement
        with suppress(OvcaError):  # of which the service writes a line into its log
            master.loop.step()
        left = 0
        update, view = master.update(), master.lease.read()
        with on_each.database.read() as session:
            own = session.get(Entry, (1, 'mn1'))
        if view.holder == 'mn2':
            assert (update.state, update.handovers, own is not None) == ('PROVING', 1, True)
            assert (view.acting, view.epoch, view.incarnation) == (False, before.epoch + 1, 'mn2 runs')
            assert master.story('lease')[-1] == 'mn1 handed the lease over to mn2'
            break
        broken += 1
        assert (update.state, update.handovers, own) == ('VERIFY_1', 0, None), statement
        assert view.acting, 'the giver serves again'
    for engine in on_each.database.engines:
        event.remove(engine, 'before_cursor_execute', count)

    assert broken > 15, 'it was broken at each statement of its own'


# F5: "the version label matches, so it is done".


def proof(operated: Operated, *, digest: str, attempt: int = 1, token: str | None = None) -> Master:
    """mn1 was installed with 1.1.0 as the first node of an open update, and has this to show for it."""
    master = Master(operated)
    operated.update('INSTALL_1', first='mn1', second='mn2')
    operated.entry(1, 'mn1')
    master.whole('1.1.0', digest)
    with operated.database.write() as session:
        now = operated.database.now(session)
        session.add(
            InstallGrant(
                update_id=1, node='mn1', attempt=1, epoch=3, digest=NEW, salt='salt', issued_at=now, expires_at=now,
                consumed_at=now, evidence_hash=hashed(evidence_token('nonce', 'salt')),
            )
        )  # fmt: skip
    shown = {'update': 1, 'attempt': attempt, 'node': 'mn1', 'token': token or evidence_token('nonce', 'salt')}
    path = master.root / evidence.EVIDENCE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(shown))
    return master


def finalised(master: Master) -> bool:
    try:
        return evidence.finalise(master.database, master.conf, node='mn1', boot_id='this boot')
    except evidence.EvidenceRefused:
        return False


@pytest.mark.parametrize(
    'shown', [{'digest': OLD}, {'digest': NEW, 'attempt': 2}, {'digest': NEW, 'token': 'another'}], ids=str
)
def test_f05_a_node_with_the_right_version_label_is_not_done_without_digest_and_token(
    operated: Operated, shown: dict[str, Any]
) -> None:
    master = proof(operated, **shown)
    master.change(Node, 'mn1', running_version='1.1.0')

    assert not finalised(master)
    assert master.entry('mn1').final_at is None


def test_f05_nor_is_one_of_whose_files_one_differs_and_the_proof_names_boot_and_digest(operated: Operated) -> None:
    master = proof(operated, digest=NEW)
    tool = master.root / 'usr/bin/tool'
    tool.write_text('softwarf')
    assert not finalised(master)

    tool.write_text('software')
    assert finalised(master)

    entry = master.entry('mn1')
    assert (entry.final_digest, entry.final_boot_id, entry.final_attempt) == (NEW, 'this boot', 1)


@pytest.mark.parametrize('away', ['list', 'storage', 'another'])
def test_f05_a_proof_waits_for_the_shared_storage_and_the_node_says_what_it_waits_for(
    operated: Operated, away: str, caplog: pytest.LogCaptureFixture
) -> None:
    master = proof(operated, digest=NEW)
    shared, aside = operated.folder / 'shared', operated.folder / 'aside'
    listing = shared / 'mgmt_image/1.1.0/files.json'
    whole = listing.read_bytes()
    if away == 'storage':
        shared.rename(aside)
    elif away == 'list':
        listing.unlink()
    else:
        listing.write_bytes(b'{}')
        master.change(Image, '1.1.0', files_digest=hashlib.sha256(whole).hexdigest())
    service = Ovcad(master.conf)
    assert service.register()

    for _ in range(3):
        service._beat()  # a service that ended instead would be started anew for ever, and not be heard of

    (alarm,) = [record.getMessage() for record in caplog.records if 'ALARM' in record.getMessage()]
    problem = (master.node('mn1').health_detail or {})['proof']
    assert str(listing) in alarm and str(listing) in problem and problem in alarm
    assert master.node('mn1').last_seen_at is not None and master.entry('mn1').final_at is None
    if away == 'storage':
        aside.rename(shared)
    else:
        listing.write_bytes(whole)
    service._beat()
    assert master.entry('mn1').final_digest == NEW
    master.change(Update, 1, state='DONE', finished_at=master.now())
    service._beat()
    service.keeper.close()
    service.database.dispose()
    assert 'proof' not in (master.node('mn1').health_detail or {})


# F11: old software over a new database, and new software that cannot read old rows.


def test_f11_software_that_is_too_far_from_the_schema_does_not_start(on_each: Operated) -> None:
    for revision in ('0001', f'{int(schema.head()) + 2:04}'):
        with on_each.database.write() as session:
            session.execute(text('UPDATE alembic_version SET version_num = :to'), {'to': revision})
        service = Ovcad(conf.load(str(on_each.config_file)))
        before = on_each.rows()

        with pytest.raises(SchemaError, match=f'has schema revision {revision}, this software {schema.head()}'):
            service._prepare()

        service.keeper.close()
        service.database.dispose()
        assert on_each.rows() == before


def test_f11_what_newer_software_has_added_to_a_row_outlives_the_work_of_this_one(on_each: Operated) -> None:
    for table in ('lease', 'node', 'update', 'entry', 'install_grant'):
        with on_each.database.write() as session:
            session.execute(text(f"""ALTER TABLE "{table}" ADD COLUMN later VARCHAR(9) DEFAULT 'as it was'"""))
    master = Master(on_each)
    on_each.update('INSTALL_1')
    on_each.entry(1)
    with on_each.database.write() as session:
        for table in ('lease', 'node', 'update', 'entry'):
            session.execute(text(f"""UPDATE "{table}" SET later = 'kept'"""))

    master.run()
    master.consumed()
    master.ask('abort')
    master.run()

    assert master.update().state == 'FAILED_DEGRADED'
    for table, expected in (('lease', 'kept'), ('node', 'kept'), ('update', 'kept'), ('entry', 'kept')):
        with on_each.database.read() as session:
            assert set(session.scalars(text(f'SELECT later FROM "{table}"'))) == {expected}, table


def test_f11_a_state_that_this_software_does_not_know_stops_the_update_with_one_alarm(operated: Operated) -> None:
    master = Master(operated)
    operated.update('INSTALL_1')
    operated.entry(1)
    master.run()
    orders = list(master.machine.orders)
    master.change(Update, 1, state='HIBERNATING')
    master.change(Node, 'mn2', mac='52:54:00:00:00:02')

    for _ in range(3):
        master.later(600)
        assert not master.loop.step()
    master.installed('1.0.0', OLD)
    service = Ovcad(master.conf)
    with service.database.read() as session:
        may_lead = service._eligible(session)
    service.keeper.close()
    service.database.dispose()

    assert master.story('alarm') == [
        'update 1: the state HIBERNATING is one that this software does not know; nothing is done about the update '
        'until software leads that knows it'
    ]
    assert (master.machine.orders, master.desk().boot('52:54:00:00:00:02')) == (orders, None)
    assert may_lead, 'it goes on serving'
    assert master.ask('pause').result == {'error_id': 'state-unknown'}


def test_f11_commands_tell_of_such_a_state_in_one_sentence_and_the_nodes_can_still_be_seen(operated: Operated) -> None:
    operated.update('INSTALL_1')
    with operated.database.write() as session:
        session.get_one(Update, 1).state = 'HIBERNATING'

    def run(*argv: str) -> ovca.testing.Result:
        return ovca.testing.run(argv, config_file=operated.config_file)

    assert [row['name'] for row in run('node-list', '-f', 'json').json] == ['mn1', 'mn2']
    assert run('master-show').code == 0
    for command in (
        ['update-list'],
        ['update-show', '1'],
        ['update-explain'],
        ['update-watch'],
        ['activate', '1.1.0', '--yes'],
    ):
        said = run(*command)
        assert (said.code, said.out) == (6, ''), command
        assert 'HIBERNATING is one that this software does not know' in said.err, command
        assert said.err.strip().endswith('[state-unknown]') and said.err.count('\n') == 1, said.err
