from __future__ import annotations

import pytest

from ovca.conf.masking import masked


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        ('http://me:s3cret@proxy:3128', 'http://me:****@proxy:3128'),
        ('http://:s3cret@proxy', 'http://:****@proxy'),
        ('http://me:s3/c@ret@proxy:3128/', 'http://me:****@proxy:3128/'),
        ('http://proxy:3128/a', 'http://proxy:3128/a'),
        ('postgresql://db/ovca?user=a&password=s3cret', 'postgresql://db/ovca?user=a&password=****'),
        ('it is http://a:s3cret@b and http://c:s3cret@d', 'it is http://a:****@b and http://c:****@d'),
    ],
)
def test_the_password_of_a_url_is_hidden(value: str, shown: str) -> None:
    assert masked(value) == shown


def test_a_secret_without_a_known_form_is_hidden_whole() -> None:
    assert masked('hunter2', secret=True) == '****'
    assert masked(4711, secret=True) == '****'
    assert masked(['hunter2'], secret=True) == ['****']
    assert masked('sqlite:////var/lib/x', secret=True) == 'sqlite:////var/lib/x'


def test_what_is_not_there_is_not_hidden() -> None:
    assert masked(None, secret=True) is None
    assert masked('', secret=True) == ''


def test_values_within_values_are_looked_at() -> None:
    assert masked({'mn1': 'http://u:p@bmc/x'}) == {'mn1': 'http://u:****@bmc/x'}
