from __future__ import annotations

import datetime as dt

import pytest

from ovca.cli import values
from ovca.exceptions import UsageError


@pytest.mark.parametrize(
    ('text', 'meant'),
    [
        ('90s', dt.timedelta(seconds=90)),
        ('2h', dt.timedelta(hours=2)),
        ('1d12h', dt.timedelta(hours=36)),
        ('2026-11-24', dt.datetime(2026, 11, 24, tzinfo=dt.UTC)),
        ('2026-11-24T10:00:00', dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)),
        ('2026-11-24T10:00:00Z', dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)),
        ('2026-11-24T10:00:00+02:00', dt.datetime(2026, 11, 24, 8, tzinfo=dt.UTC)),
    ],
)
def test_a_time_is_a_date_or_how_long_ago(text: str, meant: object) -> None:
    assert values.moment(text) == meant


@pytest.mark.parametrize(
    'text', ['', 'yesterday', '2', '-2h', 'h', '2026-13-01', '999999999w', '0001-01-01T00:00+14:00']
)
def test_what_is_no_time_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match='write one as') as caught:
        values.moment(text)

    assert caught.value.id == 'bad-time'


@pytest.mark.parametrize('text', ['0', '-1', '101', 'x', '', '1.5', '1e2', '٣', '9' * 5000])
def test_a_number_that_does_not_fit_is_one_sentence_with_the_bounds(text: str) -> None:
    with pytest.raises(UsageError, match='--limit is a whole number from 1 to 100, not'):
        values.number('--limit', text, most=100)


@pytest.mark.parametrize(
    ('text', 'meant'),
    [
        (None, None),
        ('0', 0),
        ('1', 1),
        ('500k', 512_000),
        ('20M', 20 * 2**20),
        ('1.5G', 3 * 2**29),
        ('1024G', 2**40),
        ('0.5k', 512),
    ],
)
def test_a_rate_is_bytes_a_second_with_or_without_a_unit(text: str | None, meant: int | None) -> None:
    assert values.rate(text) == meant


@pytest.mark.parametrize('text', ['', 'fast', '-1', '1T', '1 M', '1025G', '0.1', 'k', '1e6', '٣', '20Mb', '9' * 5000])
def test_what_is_no_rate_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match=r'as 500k, 20M or 1\.5G') as caught:
        values.rate(text)

    assert caught.value.id == 'bad-rate'
