from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ovca import testing
from ovca.cli.output import NARROWEST, fit, plain, size, table

Install = Callable[..., None]
PLUGIN = """
import datetime as dt
from ovca.cli import base

NAMES = ('name', 'size', 'free_bytes', 'seen_at', 'parts', 'facts', 'note', 'good')
WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
ROWS = [
    ('mn1', 4_290_000_000, 999, WHEN, ['a', 'b'], {'n': 1}, None, True),
    ('mn2', 120_000_000, 0, WHEN, [], {}, 'it is a long sentence, "quoted", with several words: ' * 4, False),
]

class Many(base.Lister):
    \"\"\"List.\"\"\"
    def take_action(self, parsed_args):
        return NAMES, ROWS

class One(base.ShowOne):
    \"\"\"Show.\"\"\"
    def take_action(self, parsed_args):
        return NAMES, ROWS[0]

class Nothing(base.Lister):
    \"\"\"List nothing.\"\"\"
    def take_action(self, parsed_args):
        return NAMES, []

class Breaks(base.Lister):
    \"\"\"Break after the first row.\"\"\"
    def take_action(self, parsed_args):
        def rows():
            yield ROWS[0]
            raise ConnectionError('the source went away')
        return NAMES, rows()

class Odd(base.ShowOne):
    \"\"\"Show what JSON cannot hold.\"\"\"
    def take_action(self, parsed_args):
        return ('none', 'set', 'object'), (float('nan'), {'b', 'a'}, object)
"""
COMMANDS = {name: f'outmod:{name.title()}' for name in ('many', 'one', 'nothing', 'breaks', 'odd')}


@pytest.fixture(autouse=True)
def commands(install: Install) -> None:
    install('shows', {'ovca.cli': COMMANDS}, outmod=PLUGIN)


def test_json_and_yaml_carry_the_same_and_csv_and_value_its_words() -> None:
    as_json = testing.run(['many', '-f', 'json']).json
    as_yaml = yaml.safe_load(testing.run(['many', '-f', 'yaml']).out)
    as_csv = list(csv.DictReader(io.StringIO(testing.run(['many', '-f', 'csv']).out)))
    as_value = testing.run(['many', '-f', 'value', '-c', 'name', '-c', 'size', '-c', 'parts']).out

    assert as_json == as_yaml
    assert (as_json[0]['size'], as_json[0]['seen_at']) == (4_290_000_000, '2026-01-02T03:04:05Z')
    assert [row['name'] for row in as_csv] == ['mn1', 'mn2']
    assert (as_csv[0]['parts'], as_csv[0]['facts'], as_csv[0]['note'], as_csv[0]['good']) == (
        'a,b',
        '{"n": 1}',
        '',
        'true',
    )
    assert as_csv[1]['note'] == as_json[1]['note']
    assert as_value == 'mn1 4290000000 a,b\nmn2 120000000 \n'


def test_one_record_has_all_formats_too() -> None:
    as_json = testing.run(['one', '-f', 'json']).json

    assert yaml.safe_load(testing.run(['one', '-f', 'yaml']).out) == as_json
    assert [row['name'] for row in csv.DictReader(io.StringIO(testing.run(['one', '-f', 'csv']).out))] == ['mn1']
    assert testing.run(['one', '-f', 'value', '-c', 'name']).out == 'mn1\n'


def test_an_empty_list_is_valid_in_every_format() -> None:
    assert testing.run(['nothing', '-f', 'json']).json == []
    assert yaml.safe_load(testing.run(['nothing', '-f', 'yaml']).out) == []
    assert testing.run(['nothing', '-f', 'csv']).out.count('\n') == 1
    assert testing.run(['nothing', '-f', 'value']).out == ''
    assert testing.run(['nothing']).out.startswith('name  size  free_bytes')


@pytest.mark.parametrize('form', ['json', 'yaml', 'csv', 'value', 'table'])
def test_nothing_is_written_when_a_row_fails(form: str) -> None:
    result = testing.run(['breaks', '-f', form])

    assert (result.code, result.out) == (1, '')
    assert 'the source went away' in result.err


def test_what_json_cannot_hold_becomes_something_that_it_can() -> None:
    result = testing.run(['odd', '-f', 'json'])

    assert json.loads(result.out) == {'none': None, 'set': ['a', 'b'], 'object': "<class 'object'>"}


def test_a_table_has_readable_sizes_and_times_and_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('COLUMNS', raising=False)

    few = testing.run(['many', '-c', 'name', '-c', 'size', '-c', 'free_bytes', '-c', 'seen_at', '-c', 'note']).out
    everything = testing.run(['many']).out

    assert '4.29 GB' in few and '999 bytes' in few and '2026-01-02' in few and '03:04:05Z' in few
    assert max(map(len, few.splitlines())) <= 80
    assert max(map(len, everything.splitlines())) <= 80


def test_the_width_of_a_table_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '120')

    by_environment = testing.run(['many', '-c', 'name', '-c', 'note']).out
    by_option = testing.run(['many', '--max-width', '50', '-c', 'name', '-c', 'note']).out
    unlimited = testing.run(['many', '--max-width', '0', '-c', 'name', '-c', 'note']).out

    assert 80 < max(map(len, by_environment.splitlines())) <= 120
    assert max(map(len, by_option.splitlines())) <= 50
    assert len(unlimited.splitlines()) == 4
    assert testing.run(['many', '--max-width', 'x']).code == 2


def test_rows_are_sorted_by_value_and_not_by_how_it_is_shown() -> None:
    by_size = testing.run(['many', '--sort-column', 'size', '-c', 'name', '-c', 'size'])
    down = testing.run(['many', '--sort-column', 'size', '--sort-descending', '-f', 'value', '-c', 'name'])

    assert by_size.out.index('120 MB') < by_size.out.index('4.29 GB')
    assert down.out == 'mn1\nmn2\n'
    assert testing.run(['many', '--sort-column', 'colour']).code == 2


@pytest.mark.parametrize(
    ('number', 'text'),
    [
        (0, '0 bytes'),
        (999, '999 bytes'),
        (1000, '1.00 kB'),
        (999_499, '999 kB'),
        (999_500, '1.00 MB'),
        (12_345_678, '12.3 MB'),
        (4_290_000_000, '4.29 GB'),
        (10**16, '10000 TB'),
    ],
)
def test_a_size_has_three_digits_and_a_unit(number: int, text: str) -> None:
    assert size(number) == text


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(1, 300))
def test_columns_are_never_wider_than_they_need_and_fit_if_they_can(natural: list[int], room: int) -> None:
    widths = fit(natural, room)

    assert all(min(NARROWEST, need) <= width <= need for width, need in zip(widths, natural, strict=True))
    assert sum(widths) <= room or widths == [min(NARROWEST, need) for need in natural]


def test_a_column_keeps_its_longest_word_while_another_can_give() -> None:
    assert fit([40, 20], 40, [10, 20]) == [20, 20]
    assert fit([40, 20], 26, [10, 20]) == [10, 16]


def test_wide_characters_count_double() -> None:
    lines = table(('name',), [['日本語' * 20]], 40).splitlines()

    assert len(lines[0]) <= 40


def test_a_subclass_of_a_plain_type_is_written_as_text_that_every_format_knows() -> None:
    class Version(str):
        __slots__ = ()

    assert plain({Version('a'): Version('b')}) == {'a': 'b'}
    assert type(plain(Version('a'))) is str
