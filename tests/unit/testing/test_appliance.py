"""The appliance as a file and rows, for the tests of plugins."""

from __future__ import annotations

from ovca.db.engine import Database
from ovca.db.models import Node
from ovca.testing import run
from ovca.testing.appliance import Config, rows


def test_a_command_sees_the_nodes_of_the_database(ovca_config: Config, ovca_database: Database) -> None:
    result = run(['node-list', '-f', 'json'], config_file=ovca_config)

    assert [(row['name'], row['role'], row['health']) for row in result.json] == [
        ('mn1', 'master', 'healthy'),
        ('mn2', 'standby', 'healthy'),
    ]


def test_options_are_read_as_they_were_set(ovca_config: Config) -> None:
    ovca_config.set('power', bmc={'mn1': 'http://a/1', 'mn2': 'http://a/2'}, verify=False, timeout=2.5)
    ovca_config.set('check', enabled=['fake', 'other'])
    ovca_config.set('update', uri='https://example.com/$image.zip')

    conf = ovca_config.load()

    assert conf.power.bmc == {'mn1': 'http://a/1', 'mn2': 'http://a/2'}
    assert (conf.power.verify, conf.power.timeout) == (False, 2.5)
    assert conf.check.enabled == ['fake', 'other']
    assert conf.update.uri == 'https://example.com/$image.zip'


def test_a_change_in_the_database_is_seen_in_its_rows(ovca_database: Database) -> None:
    before = rows(ovca_database)

    with ovca_database.write() as session:
        session.get_one(Node, 'mn2').quarantined = True

    after = rows(ovca_database)
    assert [name for name in before if before[name] != after[name]] == ['node']
