from __future__ import annotations

import pytest

from ovca.conf import inspection
from ovca.conf.files import Source
from ovca.conf.groups import core
from ovca.conf.inspection import Finding, Result


def test_a_finding_is_a_sentence() -> None:
    assert str(Finding('x.conf', 'it is wrong', 'mend it')) == 'x.conf: it is wrong; mend it'
    assert str(Finding('x.conf', 'it is wrong')) == 'x.conf: it is wrong'


def test_groups_that_cannot_be_looked_into_are_passed_over() -> None:
    source = Source('x.conf', {'rack': {'anything': ['1']}, 'cluster': {'ttl': ['1']}})

    assert inspection.names(source, {'cluster': {'ttl'}}, ['rack']) == []


def test_a_rule_is_left_out_when_one_of_its_values_is_wrong_by_itself() -> None:
    values = {'cluster.renew_interval': 90.0, 'cluster.self_demote': 20.0, 'cluster.ttl': 30.0}

    assert len(inspection.conflicts('x.conf', values)) == 1
    assert inspection.conflicts('x.conf', {k: v for k, v in values.items() if k != 'cluster.ttl'}) == []


@pytest.mark.parametrize(
    ('options', 'values', 'text'),
    [
        (['a.x', 'a.y', 'b.z'], [1.5, 2, 'c'], '[a] x = 1.5, y = 2 and [b] z = c'),
        (['a.x', 'b.y'], [30.0, 30.0], '[a] x = 30 and [b] y = 30'),
        (['a.x'], [1], '[a] x = 1'),
    ],
)
def test_options_are_named_as_a_sentence_begins(options: list[str], values: list[object], text: str) -> None:
    assert inspection.listed(options, values) == text


def test_what_is_said_of_one_node_only_is_pointed_out() -> None:
    values = {
        'cluster.node_name': 'mn1',
        'cluster.peer': 'mn2',
        'provision.mac': {'mn1': '52:54:00:00:00:01'},
        'provision.boot_address': {'mn2 ': '192.0.2.12', 'mn1': '192.0.2.11'},
        'cluster.peer_url': None,
    }

    found = inspection.nodes('x.conf', values)

    assert [f.result for f in found] == [Result.WARNING] * 3
    assert 'names no network card for mn2' in found[0].detail
    assert 'boot_address names no address for mn2, so any machine can ask in its place' in found[1].detail
    assert 'peer_url is not set' in found[2].detail


def test_a_node_alone_lacks_nothing() -> None:
    assert inspection.nodes('x.conf', {'cluster.node_name': 'mn1', 'cluster.peer': None}) == []


def test_passwords_are_found_by_what_they_look_like_and_by_their_option() -> None:
    source = Source(
        'x.conf',
        {
            'update': {'http_proxy': ['http://a:hunter2@b'], 'https_proxy': ['http://b']},
            'database': {'connection': ['postgresql://host/x?password=hunter2']},
        },
    )

    assert inspection.passwords(source, core()) == ['[update] http_proxy', '[database] connection']


def test_the_sites_file_that_is_missing_is_pointed_out_once() -> None:
    found = inspection.overview('site', [Source('vendor', {'cluster': {'ttl': ['3']}})], [])

    assert [(f.where, f.result) for f in found] == [('vendor', Result.PASSED), ('site', Result.WARNING)]
    assert inspection.overview('site', [], [Finding('site', 'cannot be read')]) == []
