"""What ovcad writes into its log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ovca import conf
from ovca.daemon.__main__ import WithId
from ovca.daemon.service import Ovcad
from ovca.exceptions import PowerError
from tests.operated import Operated


def test_an_error_in_the_log_ends_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(WithId())

    logging.getLogger('ovca').error('ALARM: no take-over: %s', PowerError('mn2 is silent', id='bmc-silent'))
    logging.getLogger('ovca').error('ALARM: %s of %s failed', 1, 'two')

    assert caplog.messages == ['ALARM: no take-over: mn2 is silent [bmc-silent]', 'ALARM: 1 of two failed']


def test_site_files_that_cannot_be_saved_are_an_alarm_and_no_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operated = Operated(tmp_path)
    (tmp_path / 'file').touch()
    text = operated.config_file.read_text().replace(f'{tmp_path}/shared', f'{tmp_path}/file')
    operated.config_file.write_text(f'{text}\n[provision]\nroot = {tmp_path}\nsite_files = ovca.conf\n')
    service = Ovcad(conf.load(str(operated.config_file)))

    service._save_site()

    assert [r.levelname for r in caplog.records if r.getMessage().startswith('ALARM: the site files')] == ['ERROR']
    operated.close()
