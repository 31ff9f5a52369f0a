from __future__ import annotations

import re
from pathlib import Path

from ovca import exceptions

OPERATOR = Path(__file__).parents[2] / 'doc' / 'source' / 'operator.rst'


def test_every_exit_status_is_in_the_operators_documentation() -> None:
    classes = [value for value in vars(exceptions).values() if isinstance(value, type)]

    documented = {int(number) for number in re.findall(r'^   \* - (\d+)$', OPERATOR.read_text(), re.MULTILINE)}

    assert {cls.exit_code for cls in classes if issubclass(cls, exceptions.OvcaError)} <= documented


def test_every_error_says_what_it_stands_for() -> None:
    for value in vars(exceptions).values():
        if isinstance(value, type) and issubclass(value, Exception):
            assert value.__doc__ and value.__doc__.rstrip().endswith('.'), value
