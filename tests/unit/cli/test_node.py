from __future__ import annotations

import pytest

from ovca.db.models import Node
from tests.operated import Operated
from tests.unit.cli.test_commands import asked, run

BMC, MAC = 'https://192.0.2.31/redfish/v1/Systems/1', '52:54:00:00:00:31'


def test_a_node_is_added_by_the_master(operated: Operated) -> None:
    operated.started().answer(lambda request: {})

    result = run(operated, 'node-add', 'cn1', '--kind', 'compute', '--bmc', BMC, '--mac', '52-54-00-00-00-31')

    assert (result.code, result.out) == (0, 'node cn1 is added\n'), result.err
    (request,) = operated.requests()
    assert (request.kind, request.args) == ('node-add', {'name': 'cn1', 'kind': 'compute', 'bmc': BMC, 'mac': MAC})


def test_an_empty_value_clears(operated: Operated) -> None:
    operated.started().answer(lambda request: {})

    result = run(operated, 'node-set', 'mn2', '--mac', '')

    assert (result.code, result.out) == (0, 'node mn2 is changed\n'), result.err
    assert operated.requests()[0].args == {'name': 'mn2', 'mac': ''}


@pytest.mark.parametrize(
    ('argv', 'code', 'id'),
    [
        (['node-set', 'mn2'], 2, 'nothing-to-set'),
        (['node-set', 'mn7', '--mac', MAC], 2, 'no-node'),
        (['node-set', 'mn2', '--mac', 'x'], 2, 'bad-mac'),
        (['node-set', 'mn2', '--bmc', 'x'], 2, 'bad-bmc'),
        (['node-set', 'mn2', '--bmc', 'https://root:geheim@x/'], 2, 'bmc-password'),
        (['node-add', 'c n', '--mac', MAC], 2, 'bad-node-name'),
        (['node-add', 'mn2'], 6, 'node-exists'),
        (['node-delete', 'mn7', '--yes'], 2, 'no-node'),
        (['node-delete', 'mn1', '--yes'], 6, 'node-is-master'),
        (['node-delete', 'mn2', '--yes'], 6, 'node-alive'),
    ],
)
def test_what_cannot_be_is_one_sentence_and_asks_nobody(
    operated: Operated, argv: list[str], code: int, id: str
) -> None:
    operated.started()

    result = run(operated, *argv)

    assert (result.code, result.out) == (code, '')
    assert result.err.endswith(f'[{id}]\n')
    assert result.err.count('\n') == 1
    assert 'geheim' not in result.err
    assert operated.requests() == []


def test_a_node_that_is_gone_is_deleted_after_one_question(operated: Operated) -> None:
    operated.started().answer(lambda request: {})
    operated.silent(25)  # longer than a node may be silent, shorter than the lease

    operated.configure('mn1', '[cluster]\nsilent_after = 20\n')
    no = asked(operated, 'n', 'node-delete', 'mn2')
    yes = asked(operated, 'y', 'node-delete', 'mn2')

    assert (no.code, yes.code, yes.out) == (6, 0, 'node mn2 is deleted\n'), yes.err
    assert 'mn2 (management) was last seen ' in no.err
    assert 'forgotten will be its BMC http://127.0.0.9/redfish/v1/Systems/1' in no.err
    assert yes.err.count('[y/N]') == 1
    assert [(r.kind, r.args) for r in operated.requests()] == [('node-delete', {'name': 'mn2'})]


def test_the_configuration_wins_and_node_show_says_where_a_value_comes_from(operated: Operated) -> None:
    operated.started().answer(lambda request: {})
    operated.configure('mn1', f'[power]\nbmc = mn2:{BMC}\n[provision]\nmac = mn2:{MAC}\n')

    named, stored = (run(operated, 'node-show', name, '-f', 'json').json for name in ('mn2', 'mn1'))
    changed = run(operated, 'node-set', 'mn2', '--bmc', 'https://192.0.2.32/')

    assert (named['bmc'], named['bmc_source'], named['mac_source']) == (BMC, 'configuration', 'configuration')
    assert (stored['bmc_source'], stored['mac_source']) == ('database', None)
    assert changed.code == 0
    assert changed.err == 'ovca: [power] bmc names mn2 too, and the configuration wins over what is given here\n'


def test_a_table_shows_kind_and_quarantine_where_they_differ(operated: Operated) -> None:
    operated.started()
    alike = run(operated, 'node-list').out
    with operated.database.write() as session:
        session.add(Node(name='cn1', kind='compute', quarantined=True))

    different = run(operated, 'node-list').out

    assert 'quarantined' not in alike
    assert 'kind' not in alike
    assert 'compute' in different
    assert set(run(operated, 'node-list', '-f', 'json').json[0]) >= {'kind', 'quarantined'}
