"""What ovcad writes into its log."""

from __future__ import annotations

import logging

import pytest

from ovca.daemon.__main__ import WithId
from ovca.exceptions import PowerError


def test_an_error_in_the_log_ends_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(WithId())

    logging.getLogger('ovca').error('ALARM: no take-over: %s', PowerError('mn2 is silent', id='bmc-silent'))
    logging.getLogger('ovca').error('ALARM: %s of %s failed', 1, 'two')

    assert caplog.messages == ['ALARM: no take-over: mn2 is silent [bmc-silent]', 'ALARM: 1 of two failed']
