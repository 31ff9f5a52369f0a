from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ovca import plugins
from ovca.exceptions import PluginError

GOOD = 'from ovca.power.base import PowerDriver\n\nclass Good(PowerDriver):\n    api = 1\n'
Install = Callable[..., None]


def test_the_core_brings_extensions() -> None:
    assert {'file', 'http', 'https'} <= set(plugins.names('ovca.fetch'))
    assert all(e.core for e in plugins.extensions('ovca.power') if e.name in ('fake', 'redfish'))


def test_an_extension_of_another_package_is_loaded_by_its_name(install: Install) -> None:
    install('vendor', {'ovca.power': {'ipmi': 'vendormod:Good'}}, vendormod=GOOD)

    assert plugins.load_one('ovca.power', 'ipmi', api=1).__name__ == 'Good'


def test_a_package_installed_a_moment_ago_is_seen(install: Install) -> None:
    before = plugins.names('ovca.power')

    install('vendor', {'ovca.power': {'ipmi': 'vendormod:Good'}}, vendormod=GOOD)

    assert [*before, 'ipmi'] == plugins.names('ovca.power')


def test_nothing_is_imported_to_list_extensions(install: Install) -> None:
    install('vendor', {'ovca.power': {'ipmi': 'vendormod:Good'}}, vendormod='raise RuntimeError("imported")')

    assert 'ipmi' in plugins.names('ovca.power')


@pytest.mark.parametrize(
    ('source', 'cause'),
    [
        ('import no_such_module', "ModuleNotFoundError: No module named 'no_such_module'"),
        ('x = 1', "AttributeError: module 'vendormod' has no attribute 'Good'"),
        ('assert False, "never"', 'AssertionError: never'),
        ('def', 'SyntaxError'),
        ('raise RuntimeError("boom")', 'RuntimeError: boom'),
        ('raise SystemExit("bye")', 'SystemExit: bye'),
    ],
)
def test_a_broken_extension_is_named_with_package_and_cause(install: Install, source: str, cause: str) -> None:
    install('vendor', {'ovca.power': {'ipmi': 'vendormod:Good'}}, vendormod=source)

    with pytest.raises(PluginError) as caught:
        plugins.load_one('ovca.power', 'ipmi')

    sentence = str(caught.value)
    assert sentence.startswith('ovca.power: ipmi of package vendor 1.0 cannot be loaded: ')
    assert cause in sentence


def test_an_extension_for_another_api_is_refused(install: Install) -> None:
    install('vendor', {'ovca.power': {'ipmi': 'vendormod:Good'}}, vendormod=GOOD.replace('api = 1', 'api = 2'))

    with pytest.raises(PluginError, match='is written for API 2, and this is 1; install a version'):
        plugins.load_one('ovca.power', 'ipmi', api=1)


@pytest.mark.parametrize('source', ['class Good:\n    api = 1\n', 'def Good(bmc): ...', 'Good = 5'])
def test_a_driver_that_is_none_of_its_group_is_refused(install: Install, source: str) -> None:
    install('vendor', {'ovca.power': {'ipmi': 'vendormod:Good'}}, vendormod=source)

    with pytest.raises(PluginError, match=r'vendormod:Good does not derive from ovca\.power\.base\.PowerDriver'):
        plugins.load_one('ovca.power', 'ipmi', api=1)


def test_each_group_of_drivers_has_a_base_that_tells_its_api() -> None:
    drivers = set(plugins.GROUPS) - {'ovca.cli', 'ovca.conf', 'ovca.pages'}

    assert {group: plugins.base(group).api for group in plugins.BASES} == dict.fromkeys(drivers, 1)


def test_the_documentation_lists_each_group_with_its_api() -> None:
    page = (Path(__file__).parents[3] / 'doc/source/plugins/groups.rst').read_text()

    rows = re.findall(r'^   \* - ``(ovca\.\w+)``\n(?:     - .*\n){2}     -(?: (\d+))?$', page, re.MULTILINE)

    apis = {group: str(plugins.base(group).api) if group in plugins.BASES else '' for group in plugins.GROUPS}
    assert dict(rows) == apis


def test_what_a_package_prints_at_its_import_does_not_get_among_the_data(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install('vendor', {'ovca.power': {'ipmi': 'vendormod:Good'}}, vendormod=f'print("buy me")\n{GOOD}')

    plugins.load_one('ovca.power', 'ipmi')

    assert capsys.readouterr() == ('', 'buy me\n')


def test_a_missing_extension_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(PluginError, match=r"ovca.power: there is no 'ipmmi'; installed are: fake, redfish"):
        plugins.load_one('ovca.power', 'ipmmi')


def test_an_extension_of_the_core_cannot_be_replaced(install: Install) -> None:
    install('aaa', {'ovca.power': {'redfish': 'vendormod:Good'}}, vendormod=GOOD)

    assert plugins.chosen('ovca.power')['redfish'].core
    assert {e.package: plugins.problem(e) for e in plugins.extensions('ovca.power') if e.name == 'redfish'} == {
        'ovca': '',
        'aaa': 'is ignored; the name belongs to ovca',
    }


def test_of_two_packages_with_one_name_one_wins_and_the_other_is_named(install: Install) -> None:
    install('second', {'ovca.power': {'ipmi': 'secondmod:Good'}}, secondmod=GOOD)
    install('first', {'ovca.power': {'ipmi': 'firstmod:Good', 'zzz': 'firstmod:Good'}}, firstmod=GOOD)

    assert plugins.chosen('ovca.power')['ipmi'].package == 'first'
    assert [(a.package, b.package) for a, b in plugins.clashes('ovca.power')] == [('second', 'first')]


def test_every_extension_of_the_core_can_be_loaded() -> None:
    core = [e for group in plugins.GROUPS for e in plugins.extensions(group) if e.core]

    assert len(core) > 30
    assert [problem for e in core if (problem := plugins.problem(e))] == []
    assert all('_' not in e.name for e in core)
