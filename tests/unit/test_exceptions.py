from __future__ import annotations

from ovca import exceptions


def test_the_table_of_exit_statuses_is_made_of_the_classes() -> None:
    statuses = dict(exceptions.exit_statuses())

    assert list(statuses) == [*range(13), 130, 141]
    assert statuses[0] == 'It was done. For an update: both nodes run the new image.'
    assert statuses[3] == (
        'The configuration is missing, unreadable or wrong. A driver or another extension cannot be loaded.'
    )
    assert statuses[9] == 'The database refused or lost an operation.'
    assert statuses[130] == 'The operator pressed Ctrl-C.'


def test_the_class_of_a_plugin_does_not_change_the_table() -> None:
    before = exceptions.exit_statuses()

    type('TapeTorn', (exceptions.FetchError,), {'__doc__': 'The tape is torn.', 'exit_code': 77})

    assert exceptions.exit_statuses() == before


def test_every_error_says_what_it_stands_for() -> None:
    for value in vars(exceptions).values():
        if isinstance(value, type) and issubclass(value, Exception):
            assert value.__doc__ and value.__doc__.rstrip().endswith('.'), value
