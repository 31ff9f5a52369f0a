from __future__ import annotations

import datetime as dt
import threading

import pytest
from sqlalchemy import select, text

from ovca.cluster.lease import Lease, LeaseExpired, LeaseView
from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import Event
from ovca.db.models import Lease as LeaseRow
from ovca.exceptions import DatabaseUnavailable, LeaseLost

TTL = 30.0


@pytest.fixture
def mn1(database: Database) -> Lease:
    lease = Lease(database, 'mn1', 'mn1-a', ttl=TTL)
    lease.ensure_row()
    return lease


@pytest.fixture
def mn2(database: Database) -> Lease:
    return Lease(database, 'mn2', 'mn2-a', ttl=TTL)


def lead(lease: Lease) -> int:
    """Claim and act, as a master that has fenced the other node."""
    epoch = lease.claim(lease.read())
    lease.set_acting(epoch, 'the other node is off')
    return epoch


def expire(lease: Lease) -> None:
    """Let the lease be as old as if its holder had been silent for its ttl."""
    with lease.database.write() as session:
        session.get_one(LeaseRow, lease.name).ttl = 0.0


def restarted(lease: Lease) -> Lease:
    """The same node, a new run of its service."""
    return Lease(lease.database, lease.node, lease.incarnation + '+', ttl=lease.ttl)


def note(lease: Lease, epoch: int, detail: str) -> None:
    with lease.fenced(epoch) as session:
        events.append(session, kind='note', detail=detail, node=lease.node, epoch=epoch)


def notes(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Event.detail).where(Event.kind == 'note').order_by(Event.id)))


def until_somebody_waits(database: Database) -> None:
    """Return when another session waits for a lock; SQLite does not tell."""
    pause = threading.Event()
    if database.dialect == 'sqlite':
        pause.wait(0.2)
        return
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(500):
        with database.read() as session:
            if session.execute(text(query)).scalar_one():
                return
        pause.wait(0.01)
    raise AssertionError('nobody waits')


def test_a_new_lease_is_held_by_nobody(mn1: Lease) -> None:
    mn1.ensure_row()

    view = mn1.read()

    assert (view.holder, view.epoch, view.acting, view.expired) == (None, 0, False, True)
    assert not view.demoted
    assert not view.predecessor_demoted


def test_without_the_row_nobody_holds_anything(database: Database) -> None:
    lease = Lease(database, 'mn1', 'mn1-a', ttl=TTL)

    with pytest.raises(LeaseLost, match='no lease'):
        lease.read()


def test_who_claims_holds_the_lease_but_does_not_act_yet(mn1: Lease) -> None:
    epoch = mn1.claim(mn1.read())

    view = mn1.read()
    assert epoch == view.epoch == 1
    assert view.held_by('mn1', 'mn1-a')
    assert (view.acting, view.fence_proof, view.expired) == (False, None, False)
    with pytest.raises(LeaseLost, match='does not act'):
        note(mn1, epoch, 'too early')
    with mn1.fenced(epoch, acting=False):
        pass


def test_who_acts_can_write(mn1: Lease, database: Database) -> None:
    epoch = lead(mn1)

    note(mn1, epoch, 'written')

    assert notes(database) == ['written']
    assert mn1.read().fence_proof == 'the other node is off'


def test_acting_needs_a_proof(mn1: Lease) -> None:
    epoch = mn1.claim(mn1.read())

    with pytest.raises(ValueError, match='proof'):
        mn1.set_acting(epoch, '')


def test_a_lease_that_has_not_expired_cannot_be_claimed(mn1: Lease, mn2: Lease) -> None:
    lead(mn1)

    with pytest.raises(LeaseLost, match='not expired'):
        mn2.claim(mn2.read())


@pytest.mark.parametrize(('ahead', 'claimable'), [(TTL / 2, False), (3600, True)])
def test_a_lease_that_was_renewed_before_the_databases_clock_was_put_back_is_not_kept_until_that_time_comes(
    mn1: Lease, mn2: Lease, ahead: float, claimable: bool
) -> None:
    epoch = lead(mn1)
    seen = _put_ahead(mn1, ahead)

    assert seen.expired is claimable
    if claimable:
        assert not mn1.renew(epoch).expired, 'who lives keeps it by its next renewal'
        assert mn2.claim(_put_ahead(mn1, ahead)) == epoch + 1


def _put_ahead(lease: Lease, seconds: float) -> LeaseView:
    with lease.database.write() as session:
        session.get_one(LeaseRow, lease.name).renewed_at = lease.database.now(session) + dt.timedelta(seconds=seconds)
    return lease.read()


def test_a_renewal_since_the_look_makes_a_claim_void(mn1: Lease, mn2: Lease) -> None:
    epoch = lead(mn1)
    expire(mn1)
    seen = mn2.read()
    assert seen.expired

    mn1.renew(epoch)
    expire(mn1)

    with pytest.raises(LeaseLost, match='changed'):
        mn2.claim(seen)


def test_of_two_claims_on_the_same_look_one_wins(mn1: Lease, mn2: Lease) -> None:
    seen = mn1.read()

    mn1.claim(seen)

    with pytest.raises(LeaseLost):
        mn2.claim(seen)
    assert mn1.read().holder == 'mn1'


def test_a_silent_master_is_replaced_and_can_write_nothing_any_more(mn1: Lease, mn2: Lease, database: Database) -> None:
    old = lead(mn1)
    expire(mn1)

    new = lead(mn2)

    assert new == old + 1
    for stale in (
        lambda: note(mn1, old, 'stale'),
        lambda: note(mn1, new, 'stale'),
        lambda: mn1.renew(old),
        lambda: mn1.set_acting(old, 'proof'),
        lambda: mn1.demote(old),
        lambda: mn1.reclaim(),
    ):
        with pytest.raises(LeaseLost):
            stale()
    note(mn2, new, 'fresh')
    assert notes(database) == ['fresh']


def test_a_holder_that_let_the_lease_expire_renews_before_it_writes(mn1: Lease, database: Database) -> None:
    epoch = lead(mn1)
    expire(mn1)

    with pytest.raises(LeaseExpired):
        note(mn1, epoch, 'too late')
    assert not mn1.renew(epoch).expired
    note(mn1, epoch, 'in time')

    assert notes(database) == ['in time']


def test_a_restarted_master_goes_on_acting_under_a_new_epoch_and_fences_nobody(mn1: Lease, database: Database) -> None:
    epoch = lead(mn1)
    again = restarted(mn1)

    new = again.reclaim()

    assert new == epoch + 1
    assert again.read().acting
    assert again.read().fence_proof == 'the other node is off'
    note(again, new, 'after the restart')
    with pytest.raises(LeaseLost):
        note(mn1, epoch, 'the old run')
    assert notes(database) == ['after the restart']


def test_a_holder_that_never_fenced_has_to_after_its_restart_too(mn1: Lease) -> None:
    mn1.claim(mn1.read())
    again = restarted(mn1)

    again.reclaim()

    assert (again.read().acting, again.read().fence_proof) == (False, None)


def test_there_is_nothing_to_reclaim_for_the_run_that_holds_the_lease(mn1: Lease) -> None:
    lead(mn1)

    with pytest.raises(LeaseLost, match='nothing to re-claim'):
        mn1.reclaim()


def test_giving_up_is_final_for_the_epoch(mn1: Lease) -> None:
    epoch = lead(mn1)

    mn1.demote(epoch)
    mn1.demote(epoch)

    assert mn1.renew(epoch).demoted
    with pytest.raises(LeaseLost, match='gave up'):
        note(mn1, epoch, 'x')
    with pytest.raises(LeaseLost, match='gave up'):
        mn1.set_acting(epoch, 'I changed my mind')
    with pytest.raises(LeaseLost), mn1.fenced(epoch, acting=False):
        pass


def test_who_gave_up_serves_again_after_a_reclaim_without_fencing(mn1: Lease, database: Database) -> None:
    epoch = lead(mn1)
    mn1.demote(epoch)

    new = mn1.reclaim()

    view = mn1.read()
    assert (new, view.acting, view.fence_proof) == (epoch + 1, False, 'the other node is off')
    mn1.set_acting(new, 'it held the lease all the time')
    note(mn1, new, 'serving again')
    assert notes(database) == ['serving again']


def test_a_hand_over_makes_the_receiver_the_holder_and_it_acts_without_fencing(
    mn1: Lease, mn2: Lease, database: Database
) -> None:
    epoch = lead(mn1)
    mn1.demote(epoch)

    with mn1.handing_over(epoch) as session:
        new = mn1.hand_over(session, epoch, 'mn2', 'mn2-a')

    view = mn2.read()
    assert view.held_by('mn2', 'mn2-a')
    assert (view.epoch, view.acting, view.fence_proof) == (new, False, None) == (epoch + 1, False, None)
    assert view.predecessor_demoted
    assert not view.expired
    mn2.set_acting(new, 'the predecessor was demoted')
    note(mn2, new, 'received')
    with pytest.raises(LeaseLost):
        note(mn1, epoch, 'the giver')
    assert notes(database) == ['received']


def test_what_is_written_with_a_hand_over_happens_with_it_or_not_at_all(mn1: Lease, database: Database) -> None:
    epoch = lead(mn1)
    mn1.demote(epoch)

    with pytest.raises(ZeroDivisionError), mn1.handing_over(epoch) as session:
        events.append(session, kind='note', detail='handed over')
        mn1.hand_over(session, epoch, 'mn2', 'mn2-a')
        raise ZeroDivisionError

    assert notes(database) == []
    assert mn1.read().held_by('mn1', 'mn1-a')


def test_who_acts_cannot_hand_over(mn1: Lease) -> None:
    epoch = lead(mn1)

    with pytest.raises(LeaseLost, match='demote first'), mn1.handing_over(epoch):
        pass
    with pytest.raises(LeaseLost, match='demote first'), mn1.fenced(epoch) as session:
        mn1.hand_over(session, epoch, 'mn2', 'mn2-a')
    assert mn1.read().holder == 'mn1'


def test_who_cannot_vouch_for_its_predecessor_cannot_hand_over(mn1: Lease, mn2: Lease) -> None:
    lead(mn1)
    expire(mn1)
    epoch = mn2.claim(mn2.read())

    # Else the next epoch would trust a demotion while mn1 may still act.
    with pytest.raises(LeaseLost, match='fence first'):
        mn2.demote(epoch)


def test_a_receiver_that_restarts_before_it_acts_still_fences_nobody(mn1: Lease, mn2: Lease) -> None:
    epoch = lead(mn1)
    mn1.demote(epoch)
    with mn1.handing_over(epoch) as session:
        mn1.hand_over(session, epoch, 'mn2', 'mn2-a')
    again = restarted(mn2)

    again.reclaim()

    view = again.read()
    assert (view.epoch, view.acting) == (epoch + 2, False)
    assert view.fence_proof == f'the holder of epoch {epoch} was demoted'


def test_the_claim_after_a_demotion_knows_that_nobody_acts(mn1: Lease, mn2: Lease) -> None:
    epoch = lead(mn1)
    mn1.demote(epoch)
    expire(mn1)

    mn2.claim(mn2.read())

    assert mn2.read().predecessor_demoted


def test_two_epochs_after_a_demotion_it_says_nothing_any_more(mn1: Lease, mn2: Lease) -> None:
    epoch = lead(mn1)
    mn1.demote(epoch)
    again = mn1.reclaim()
    mn1.set_acting(again, 'kept')
    expire(mn1)

    mn2.claim(mn2.read())

    assert not mn2.read().predecessor_demoted


def test_a_failed_block_leaves_nothing_behind(mn1: Lease, database: Database) -> None:
    epoch = lead(mn1)

    with pytest.raises(ZeroDivisionError), mn1.fenced(epoch) as session:
        events.append(session, kind='note', detail='half')
        session.flush()
        raise ZeroDivisionError

    assert notes(database) == []


def test_every_change_of_the_lease_is_told(mn1: Lease, mn2: Lease, database: Database) -> None:
    epoch = lead(mn1)
    mn1.demote(epoch)
    with mn1.handing_over(epoch) as session:
        mn1.hand_over(session, epoch, 'mn2', 'mn2-a')

    with database.read() as session:
        told = session.execute(select(Event.epoch, Event.detail).where(Event.kind == 'lease').order_by(Event.id)).all()

    assert [(number, detail.split()[0], detail.split()[1]) for number, detail in told] == [
        (1, 'mn1', 'claimed'),
        (1, 'mn1', 'acts'),
        (1, 'mn1', 'stopped'),
        (2, 'mn1', 'handed'),
    ]


def test_a_write_that_waited_for_the_hand_over_to_end_is_refused(
    mn1: Lease, mn2: Lease, database: Database, database_url: str
) -> None:
    # A check that reads a snapshot would pass here, and the write would land in the next epoch.
    epoch = lead(mn1)
    mn1.demote(epoch)
    late = Database(database_url, lock_timeout=10)
    results: list[BaseException] = []
    started = threading.Event()

    def renew_late() -> None:
        started.set()
        try:
            Lease(late, 'mn1', 'mn1-a', ttl=TTL).renew(epoch)
        except LeaseLost as exc:
            results.append(exc)

    with mn1.handing_over(epoch) as session:
        mn1.hand_over(session, epoch, 'mn2', 'mn2-a')
        session.flush()
        thread = threading.Thread(target=renew_late)
        thread.start()
        started.wait(10)
        until_somebody_waits(database)
    thread.join(10)
    late.dispose()

    assert len(results) == 1
    assert mn2.read().held_by('mn2', 'mn2-a')


def test_a_database_that_is_gone_is_not_a_lost_lease(mn1: Lease, database_url: str, database: Database) -> None:
    epoch = lead(mn1)
    impatient = Lease(Database(database_url, lock_timeout=0.1), 'mn1', 'mn1-a', ttl=TTL)

    with mn1.fenced(epoch), pytest.raises(DatabaseUnavailable):
        impatient.renew(epoch)

    assert impatient.renew(epoch).epoch == epoch
    impatient.database.dispose()
