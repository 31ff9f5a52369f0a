"""The check of certificates, with real ones."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import trustme

from ovca.remaster.checks import Result

from .conftest import Checked

DAY = dt.timedelta(days=1)


def certificate(path: Path, days: float, *, since: float = -400) -> Path:
    """A file with a certificate that expires in so many days."""
    now = dt.datetime.now(dt.UTC)
    issued = trustme.CA().issue_cert('node.example.com', not_before=now + since * DAY, not_after=now + days * DAY)
    path.write_bytes(issued.cert_chain_pems[0].bytes())
    return path


def test_certificates_that_last_pass_with_their_days(checked: Checked, tmp_path: Path) -> None:
    path = certificate(tmp_path / 'web.pem', 100.5)
    checked.config.set('check', certificates=[path])

    found = checked.check('certificates')

    assert (found.result, found.facts['files'][0]['days_left']) == ('passed', 100)


def test_a_certificate_that_expires_soon_is_warned_of(checked: Checked, tmp_path: Path) -> None:
    checked.config.set('update', client_certificate=certificate(tmp_path / 'client.pem', 10.5))

    found = checked.check('certificates')

    assert found.result is Result.WARNING
    assert found.detail == f'{tmp_path}/client.pem ([update] client_certificate) expires in 10 days'


def test_an_expired_certificate_fails(checked: Checked, tmp_path: Path) -> None:
    good = certificate(tmp_path / 'good.pem', 100)
    checked.config.set('check', certificates=[good, certificate(tmp_path / 'old.pem', -2)])

    found = checked.check('certificates')

    assert found.result is Result.FAILED
    assert 'old.pem ([check] certificates) has expired' in found.detail and 'good.pem' not in found.detail


def test_a_certificate_that_is_not_valid_yet_fails(checked: Checked, tmp_path: Path) -> None:
    checked.config.set('check', certificates=[certificate(tmp_path / 'new.pem', 100, since=5)])

    assert 'is not valid before' in checked.check('certificates').detail


def test_authorities_are_good_while_one_of_them_is(checked: Checked, tmp_path: Path) -> None:
    both = tmp_path / 'ca.pem'
    both.write_bytes(
        certificate(tmp_path / 'old.pem', -2).read_bytes() + certificate(tmp_path / 'new.pem', 300).read_bytes()
    )
    checked.config.set('update', ca_file=both)

    assert checked.check('certificates').result is Result.PASSED


def test_a_file_that_holds_none_or_is_missing_fails(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / 'empty.pem').write_text('hello\n')
    checked.config.set('check', certificates=[tmp_path / 'empty.pem', tmp_path / 'nowhere.pem'])

    found = checked.check('certificates')

    assert (found.result, 'holds no certificate' in found.detail) == ('failed', True)
    assert 'nowhere.pem ([check] certificates) cannot be read: No such file' in found.detail


def test_without_files_it_is_skipped(checked: Checked) -> None:
    assert checked.check('certificates').result is Result.SKIPPED
