from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from ovca.db.models import Event, Node
from ovca.exceptions import Refused, UsageError
from ovca.remaster import inventory
from ovca.remaster.inventory import Facts, check_name
from tests.operated import Operated

BMC, MAC = 'https://192.0.2.31/redfish/v1/Systems/1', '52:54:00:00:00:31'


@pytest.fixture
def on_each(tmp_path: Path, database_url: str) -> Iterator[Operated]:
    """An appliance that runs, on each engine."""
    appliance = Operated(tmp_path, url=database_url).started()
    yield appliance
    appliance.close()


def details(session: Session) -> list[str]:
    return [event.detail for event in session.query(Event).order_by(Event.id)]


@pytest.mark.parametrize('name', ['', '-x', 'a b', 'x' * 64, '../x', 'ä', 'x\n'])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match='is not a name for a node'):
        check_name(name)


@pytest.mark.parametrize('mac', ['52:54:00:00:00', '52:54:00:00:00:0g', '525400000001', '52:54:00:00:00:01:02'])
def test_what_is_no_card_is_refused(mac: str) -> None:
    with pytest.raises(UsageError, match='write it as 52:54:00:00:00:01'):
        Facts(mac=mac)


def test_a_card_may_be_written_as_its_label_has_it() -> None:
    assert Facts(mac='52-54-00-AB-CD-EF').mac == '52:54:00:ab:cd:ef'


@pytest.mark.parametrize(
    'uri',
    ['192.0.2.31', 'https://', 'https:///x', '/redfish', 'https://a b', 'https://a:x/', 'https://[::1', 'https://a:0'],
)
def test_what_is_no_bmc_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match='is not the URI of a BMC'):
        Facts(bmc=uri)


@pytest.mark.parametrize(
    'uri', ['https://root:geheim@192.0.2.31/', 'https://192.0.2.31/?password=geheim', 'root:geheim@x']
)
def test_a_password_in_a_bmc_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        Facts(bmc=uri)

    assert caught.value.id == 'bmc-password'
    assert 'geheim' not in str(caught.value)


def test_a_node_is_added_once(on_each: Operated) -> None:
    conf, facts = on_each.service().conf, Facts('compute', BMC, MAC)
    for _ in range(2):  # as after a crash between the change and the end of the request
        with on_each.database.write() as session:
            inventory.add(session, conf, 'cn1', facts, who='otto', epoch=3)

    with on_each.database.read() as session:
        row = session.get_one(Node, 'cn1')
        assert (row.kind, row.bmc, row.mac, row.health) == ('compute', BMC, MAC, 'unknown')
        assert details(session) == ['cn1 was added (compute)']
    with on_each.database.write() as session, pytest.raises(Refused, match='is there already') as caught:
        inventory.add(session, conf, 'cn1', Facts('management'), who='otto', epoch=3)
    assert caught.value.id == 'node-exists'


def test_a_node_is_changed_and_cleared(on_each: Operated) -> None:
    conf = on_each.service().conf
    for facts in (Facts(bmc=BMC, mac=MAC), Facts(bmc=BMC), Facts(mac='')):
        with on_each.database.write() as session:
            inventory.change(session, conf, 'mn2', facts, who='otto', epoch=3)

    with on_each.database.read() as session:
        row = session.get_one(Node, 'mn2')
        assert (row.bmc, row.mac, row.kind) == (BMC, None, 'management')
        assert details(session) == [f'mn2 was changed: bmc is {BMC}, mac is {MAC}', 'mn2 was changed: mac was cleared']


@pytest.mark.parametrize('facts', [Facts(bmc=f'{BMC}/'), Facts(mac=MAC.upper())])
@pytest.mark.parametrize('known', ['row', 'configuration'])
def test_two_nodes_never_share_a_bmc_or_a_card(operated: Operated, facts: Facts, known: str) -> None:
    operated.started()
    if known == 'row':
        with operated.database.write() as session:
            session.add(Node(name='cn1', kind='compute', bmc=BMC, mac=MAC))
    else:
        operated.configure('mn1', f'[power]\nbmc = cn1:{BMC}\n[provision]\nmac = cn1:{MAC}\n')
    conf = operated.service().conf

    for act in (inventory.add, inventory.change):
        name = 'cn2' if act is inventory.add else 'mn2'
        with operated.database.write() as session, pytest.raises(Refused, match='belongs to cn1') as caught:
            act(session, conf, name, facts, who='otto', epoch=3)
        assert caught.value.id == 'node-address'


def test_while_an_update_is_open_a_management_node_stays_as_it_is(operated: Operated) -> None:
    operated.started().update('INSTALL_1')
    operated.silent(3600)
    conf = operated.service().conf

    with operated.database.write() as session:
        session.add(Node(name='cn1', kind='compute'))
        inventory.change(session, conf, 'cn1', Facts(mac=MAC), who='otto', epoch=3)
        with pytest.raises(
            Refused, match=r'cannot be changed: update 1 to 1\.1\.0, which otto began at .*Z, is open'
        ) as changed:
            inventory.change(session, conf, 'mn2', Facts(bmc=BMC), who='otto', epoch=3)
        with pytest.raises(
            Refused, match=r'cannot be deleted: update 1 to 1\.1\.0, which otto began at .*Z, is open'
        ) as deleted:
            inventory.delete(session, conf, 'mn2', who='otto', epoch=3)
        inventory.delete(session, conf, 'cn1', who='otto', epoch=3)

    assert changed.value.id == deleted.value.id == 'node-pinned'


def test_a_node_with_an_entry_in_the_open_update_stays(operated: Operated) -> None:
    number = operated.started().update('INSTALL_1')
    with operated.database.write() as session:
        session.add(Node(name='cn1', kind='compute'))
    operated.entry(number, 'cn1')

    with (
        operated.database.write() as session,
        pytest.raises(Refused, match=r'update 1 to 1\.1\.0, which otto began at .*Z, is open'),
    ):
        inventory.delete(session, operated.service().conf, 'cn1', who='otto', epoch=3)


def test_the_two_of_the_configuration_stay_management_nodes(operated: Operated) -> None:
    operated.started()

    with operated.database.write() as session, pytest.raises(Refused, match='its kind stays management'):
        inventory.change(session, operated.service().conf, 'mn2', Facts('compute'), who='otto', epoch=3)


@pytest.mark.parametrize(
    ('name', 'age', 'id'),
    [
        ('mn1', 900.0, 'node-is-master'),
        ('mn2', 900.0, 'node-is-here'),
        ('mn3', 60.0, 'node-alive'),
        ('mn3', -1.0, 'node-alive'),
    ],
)
def test_a_node_that_would_be_there_again_is_not_deleted(name: str, age: float, id: str) -> None:
    with pytest.raises(Refused) as caught:
        inventory.refuse_alive(name, here='mn2', holder='mn1', age=age, limit=60)

    assert caught.value.id == id


@pytest.mark.parametrize('age', [None, 60.1])
def test_a_node_that_is_silent_or_was_never_seen_may_go(age: float | None) -> None:
    inventory.refuse_alive('mn3', here='mn2', holder='mn1', age=age, limit=60)


def test_a_deleted_node_is_gone_and_may_be_deleted_again(on_each: Operated) -> None:
    on_each.silent(3600)
    conf = on_each.service().conf
    for _ in range(2):
        with on_each.database.write() as session:
            inventory.delete(session, conf, 'mn2', who='otto', epoch=3)

    with on_each.database.read() as session:
        assert session.get(Node, 'mn2') is None
        assert details(session) == ['mn2 was deleted']
