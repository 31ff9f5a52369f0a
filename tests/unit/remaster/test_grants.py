from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select

from ovca.cluster.lease import Lease
from ovca.db import models
from ovca.db.models import InstallGrant, Node
from ovca.remaster.grants import GrantDesk
from tests.operated import NEW, Operated

STORED, NAMED = '52:54:00:00:00:02', '52:54:00:00:00:22'


@pytest.fixture
def wanted(operated: Operated) -> Operated:
    """An appliance whose update may wipe mn2, which has a card in its row."""
    operated.started().image()
    number = operated.update('INSTALL_1')
    operated.entry(number, 'mn2')
    with operated.database.write() as session:
        now = operated.database.now(session)
        session.scalars(select(models.Lease)).one().incarnation = 'this run'
        session.get_one(Node, 'mn2').mac = STORED
        session.add(
            InstallGrant(
                update_id=number,
                node='mn2',
                attempt=1,
                epoch=3,
                digest=NEW,
                salt='x',
                issued_at=now,
                expires_at=now + dt.timedelta(hours=1),
            )
        )
    return operated


def desk(operated: Operated) -> GrantDesk:
    return GrantDesk(
        operated.service().conf,
        Lease(operated.database, 'mn1', 'this run', ttl=30),
        epoch=lambda: 3,
        boot_url=lambda: 'http://192.0.2.10',
        tls=lambda: ('https://192.0.2.10', 'f'),
        changed=lambda: None,
    )


def test_the_machine_with_the_card_in_the_nodes_row_gets_the_order(wanted: Operated) -> None:
    order = desk(wanted).boot(STORED.upper().replace(':', '-'))

    assert order is not None
    assert (order.node, order.version) == ('mn2', '1.1.0')
    assert desk(wanted).boot(NAMED) is None


def test_the_card_in_the_configuration_wins(wanted: Operated) -> None:
    wanted.configure('mn1', f'[provision]\nmac = mn2:{NAMED}\n')

    order = desk(wanted).boot(NAMED)

    assert order is not None
    assert order.node == 'mn2'
    assert desk(wanted).boot(STORED) is None
