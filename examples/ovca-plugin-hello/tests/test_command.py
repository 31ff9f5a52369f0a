"""The command, as an operator types it."""

from __future__ import annotations

import pytest

from ovca.testing import contracts, run
from ovca.testing.appliance import Config


class TestContract(contracts.TableContract):
    name = 'hello-list'
    arguments = ('--language', 'fr')


@pytest.mark.usefixtures('ovca_database')
def test_each_node_is_greeted_in_the_configured_language(ovca_config: Config) -> None:
    ovca_config.set('hello', language='de')

    result = run(['hello-list', '-f', 'json'], config_file=ovca_config)

    assert result.json == [
        {'name': 'mn1', 'role': 'master', 'greeting': 'Guten Tag, mn1!'},
        {'name': 'mn2', 'role': 'standby', 'greeting': 'Guten Tag, mn2!'},
    ]


@pytest.mark.usefixtures('ovca_database')
def test_the_option_wins_over_the_configuration(ovca_config: Config) -> None:
    ovca_config.set('hello', language='de')

    result = run(['hello-list', '--language', 'fr', '-f', 'value', '-c', 'greeting'], config_file=ovca_config)

    assert result.out.splitlines() == ['Bonjour, mn1!', 'Bonjour, mn2!']


def test_an_unknown_language_is_answered_with_those_that_there_are(ovca_config: Config) -> None:
    result = run(['hello-list', '--language', 'x'], config_file=ovca_config)

    assert (result.code, result.out) == (2, '')
    assert "nobody here speaks 'x'; --language takes de, en, fr [hello-language]" in result.err


def test_the_page_of_the_error_is_found_by_its_id() -> None:
    result = run(['help', 'hello-language'])

    assert (result.code, result.out.splitlines()[0]) == (0, 'Nobody here speaks this language')


def test_a_wrong_value_in_the_file_is_told_before_anything_runs(ovca_config: Config) -> None:
    ovca_config.set('hello', language='x')

    result = run(['hello-list'], config_file=ovca_config)

    assert result.code == 3
    assert '[hello] language' in result.err
