"""`ovca plugin-list` says what whoever uses an extension would say."""

from __future__ import annotations

from ovca import testing
from tests.unit.conftest import Install

DRIVERS = """
from ovca.notify.base import Notifier
from ovca.remaster.checks import Check

print('imported')


class Old(Notifier):
    api = 2

    def _send(self, message): ...


class Bare:
    api = 1


class Fine(Check):
    api = 1
    id = 'fine'

    def check(self):
        return self.passed('fine')
"""


def test_it_checks_what_the_loader_checks(install: Install) -> None:
    entries = {
        'ovca.notify': {'old': 'drivermod:Old'},
        'ovca.check': {'bare': 'drivermod:Bare', 'fine': 'drivermod:Fine'},
        'ovca.conf': {'odd': 'drivermod:Fine', 'worse': 'drivermod:nothing'},
        'ovca.power': {'redfish': 'drivermod:Fine'},
        'ovca.pages': {'vendor': 'drivermod'},
    }
    install('vendor', entries, drivermod=DRIVERS)

    result = testing.run(['plugin-list', '-f', 'json'])

    problems = {row['name']: row['problem'] for row in result.json if row['package'] == 'vendor'}
    assert problems == {
        'old': 'is written for API 2, and this is 1; install a version of the package that fits',
        'bare': 'drivermod:Bare does not derive from ovca.remaster.checks.Check; mend or remove the package',
        'fine': '',
        'odd': "TypeError: Check.__init__() missing 1 required positional argument: 'context'; "
        'mend or remove the package',
        'worse': "AttributeError: module 'drivermod' has no attribute 'nothing'; mend or remove the package",
        'redfish': 'is ignored; the name belongs to ovca',
        'vendor': 'there is no folder `pages` in a package drivermod; mend or remove the package',
    }
    assert {row['status'] for row in result.json if not row['problem']} == {'usable'}
    assert (result.code, result.err) == (0, 'imported\n')


def test_it_says_which_command_judges_the_configuration() -> None:
    result = testing.run(['help', 'plugin-list'])

    assert 'The exit status is 0 with broken ones too' in ' '.join(result.out.split())
    assert 'config-check' in result.out
