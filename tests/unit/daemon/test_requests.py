from __future__ import annotations

import pytest

from ovca.exceptions import Refused
from tests.operated import Operated
from tests.unit.daemon.conftest import Clerk


def test_the_operator_sees_the_class_and_the_id_of_the_masters_error(operated: Operated, clerk: Clerk) -> None:
    service = operated.service()
    number = service.submit('abort')

    clerk().step()

    with pytest.raises(Refused, match='there is no update to abort') as caught:
        service.wait(number)
    assert caught.value.id == 'no-abort'
