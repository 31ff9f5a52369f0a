"""An operator's word that a node is off: whose, when, and for how long it counts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ovca import conf
from ovca.daemon.service import Ovcad
from ovca.db import models
from ovca.db.models import Request
from ovca.exceptions import NotMaster, Refused, UsageError
from ovca.remaster import claims
from ovca.remaster.claims import VALID, take
from tests.operated import Operated


@pytest.fixture
def operated(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    """mn2 is here; mn1 was master, and has been silent for a minute."""
    appliance = Operated(tmp_path, url=database_url).started()
    appliance.configure('mn2')
    appliance.silent(60)
    yield appliance
    appliance.close()


def lease(operated: Operated, **facts: object) -> None:
    """What stands in the lease now."""
    with operated.database.write() as session:
        row = session.scalars(select(models.Lease)).one()
        for name, value in facts.items():
            setattr(row, name, value)


def claimed(operated: Operated, epoch: int = 4) -> None:
    """mn2 has claimed the lease, and does not act yet."""
    with operated.database.read() as session:
        now = operated.database.now(session)
    lease(operated, holder='mn2', epoch=epoch, acting=False, renewed_at=now)


def test_a_word_given_to_a_dead_master_counts_for_the_claim_that_follows(operated: Operated) -> None:
    number = operated.service().claim('mn1')
    claimed(operated)

    word = take(operated.database, 'mn2', 'mn1')

    assert word is not None
    assert word.startswith('otto said at ')
    assert word.endswith('that mn1 is off; its BMC is dead')
    (request,) = operated.requests()
    assert (request.id, request.state, request.result) == (number, 'done', {'master': 'mn2'})
    told = [event.detail for event in operated.service().journal(kind='claim', limit=10)]
    assert told == ['otto says that mn1 is off, and wants mn2 to lead', word]


def test_a_word_given_to_a_node_that_tries_in_vain_counts_at_once(operated: Operated) -> None:
    claimed(operated)
    operated.service().claim('mn1')

    assert take(operated.database, 'mn2', 'mn1') is not None


def test_a_word_counts_once(operated: Operated) -> None:
    claimed(operated)
    operated.service().claim('mn1')
    assert take(operated.database, 'mn2', 'mn1') is not None

    assert take(operated.database, 'mn2', 'mn1') is None


def test_a_word_counts_where_the_bmc_cannot_even_be_asked(operated: Operated) -> None:
    claimed(operated)
    operated.service().claim('mn1')
    with operated.database.write() as session:
        session.get_one(models.Node, 'mn1').bmc = None
    settings = conf.load(str(operated.config_file))
    settings.set_override('bmc', {}, 'power')
    service = Ovcad(settings)

    proof = service.outside.fence()
    service.keeper.close()
    service.database.dispose()

    assert proof.endswith('that mn1 is off; its BMC is dead')


def test_a_word_expires(operated: Operated) -> None:
    claimed(operated)
    number = operated.service().claim('mn1')
    with operated.database.write() as session:
        row = session.get_one(Request, number)
        row.created_at -= dt.timedelta(seconds=VALID + 1)

    assert take(operated.database, 'mn2', 'mn1') is None


def test_a_word_is_void_when_somebody_has_led_since(operated: Operated) -> None:
    operated.service().claim('mn1')
    claimed(operated, epoch=6)  # mn1 was back, claimed again, and is silent again

    assert take(operated.database, 'mn2', 'mn1') is None


def test_a_word_for_one_node_is_none_for_the_other(operated: Operated) -> None:
    operated.service().claim('mn1')
    claimed(operated)

    assert take(operated.database, 'mn1', 'mn2') is None
    assert take(operated.database, 'mn2', 'mn3') is None


def test_without_a_word_there_is_none(operated: Operated) -> None:
    claimed(operated)

    assert take(operated.database, 'mn2', 'mn1') is None


def test_a_wrong_name_is_no_word(operated: Operated) -> None:
    for wrong in ('mn2', 'mn9', ''):
        with pytest.raises(UsageError, match='the other management node is mn1') as caught:
            operated.service().claim(wrong)
        assert caught.value.id == 'other-holder'

    assert operated.requests() == []


def test_a_master_that_is_a_third_node_is_not_replaced_by_a_word_about_the_second(operated: Operated) -> None:
    lease(operated, holder='mn7')

    with pytest.raises(UsageError, match='the lease is held by mn7, not by mn1'):
        operated.service().claim('mn1')

    assert operated.requests() == []


def test_a_master_that_serves_is_not_taken_over(operated: Operated) -> None:
    with operated.database.read() as session:
        now = operated.database.now(session)
    lease(operated, renewed_at=now)

    with pytest.raises(Refused, match='mn1 is master and serves') as caught:
        operated.service().claim('mn1')

    assert (caught.value.id, operated.requests()) == ('master-serves', [])


def test_where_nobody_was_ever_master_there_is_nothing_to_take_over(operated: Operated) -> None:
    lease(operated, holder=None)

    with pytest.raises(NotMaster) as caught:
        operated.service().claim('mn1')

    assert caught.value.id == 'no-master'


def test_a_word_lasts_a_quarter_of_an_hour_as_the_manual_says() -> None:
    page = Path(__file__).parents[3] / 'doc/source/tasks/failover.rst'

    assert f'{claims.VALID / 60:.0f} minutes' in page.read_text()
