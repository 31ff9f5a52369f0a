"""What a contract says of what its author has left out."""

from __future__ import annotations

import pytest

from ovca.testing import contracts


class Rack(contracts.NotifyContract):
    name = 'rack'

    __test__ = False


class Shelf(Rack):
    pass


def test_a_method_that_is_missing_is_told_with_the_page_that_explains_it() -> None:
    with pytest.raises(NotImplementedError) as caught:
        Shelf().make_broken()

    assert str(caught.value) == (
        'Shelf has to define make_broken(); see NotifyContract on the page "Tests of a plugin" (plugins/testing) of '
        'the documentation'
    )
