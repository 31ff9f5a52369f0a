"""A lab on PostgreSQL: each node reaches the server through a cable of its own."""

import pytest
from labkit import until

from ovca.db.models import Node
from ovca.lab.lab import Lab

pytestmark = pytest.mark.extra('lab')


@pytest.fixture
def appliance(postgresql_url, tmp_path, stocked):
    overrides = {'cluster': {'silent_after': 2}, 'remaster': {'ready_age': 1}}
    lab = Lab.create(tmp_path / 'lab', database=postgresql_url, overrides=overrides, stock=stocked(postgresql_url))
    try:
        lab.start()
        lab.wait_until_healthy()
        yield lab
    finally:
        lab.stop()


def test_a_node_whose_database_cable_is_cut_falls_silent_and_comes_back(appliance):
    assert appliance.master() == 'mn1'
    database = appliance.database()

    def age(name):
        with database.read() as session:
            return (database.now(session) - session.get(Node, name).last_seen_at).total_seconds()

    try:
        appliance.cut('mn2', 'database')
        until(lambda: age('mn2') > 3, 30)
        assert age('mn1') < 3
        assert appliance.master() == 'mn1'

        appliance.mend('mn2', 'database')
        until(lambda: age('mn2') < 1, 30)
    finally:
        database.dispose()
