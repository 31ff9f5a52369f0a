"""The check of certificates: the days that are left to those that are files of this node."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.remaster.checks import Check, CheckResult

if TYPE_CHECKING:
    from oslo_config import cfg

LARGEST = 4 * 1024 * 1024
"""Bytes of a file of certificates; that of a whole system has a fifth of it."""


@dataclass(frozen=True)
class Watched:
    """A file of certificates, and what it is for."""

    path: str
    option: str
    trusted: bool = False
    """It holds authorities: while one of them is good, it may be the one that is needed."""


def watched(conf: cfg.ConfigOpts) -> Iterator[Watched]:
    """The files that the configuration names, each once."""
    seen = set()
    for each in (
        Watched(conf.update.ca_file or '', '[update] ca_file', trusted=True),
        Watched(conf.update.client_certificate or '', '[update] client_certificate'),
        *(Watched(path, '[check] certificates') for path in conf.check.certificates),
    ):
        if each.path and each.path not in seen:
            seen.add(each.path)
            yield each


class Certificates(Check):
    """The certificates of this node are valid, and for some time to come."""

    id = 'certificates'

    def check(self) -> CheckResult:
        with self.context.database.read() as session:
            now = self.context.database.now(session)
        wanted = int(self.context.conf.check.certificate_days)
        files = [_look(each, now) for each in watched(self.context.conf)]
        if not files:
            return self.skipped('the configuration names no files of certificates')
        facts = {'warning_below': wanted, 'files': files}
        bad = [f'{f["path"]} ({f["option"]}) {f["problem"]}' for f in files if f['problem']]
        if bad:
            return self.failed('; '.join(bad), 'get new certificates, and put them in place of these', facts)
        soon = [f for f in files if f['days_left'] < wanted]
        if soon:
            told = '; '.join(f'{f["path"]} ({f["option"]}) expires in {f["days_left"]} days' for f in soon)
            return self.warning(told, 'get new certificates before that', facts)
        least = min(f['days_left'] for f in files)
        return self.passed(f'the certificates are valid for {least} days at least', facts)


def _look(each: Watched, now: dt.datetime) -> dict[str, Any]:
    from cryptography import x509

    facts: dict[str, Any] = {
        'path': each.path,
        'option': each.option,
        'days_left': None,
        'expires_at': None,
        'problem': None,
    }
    try:
        with Path(each.path).open('rb') as stream:
            found = x509.load_pem_x509_certificates(stream.read(LARGEST))
    except OSError as exc:
        return {**facts, 'problem': f'cannot be read: {exc.strerror}'}
    except ValueError:
        return {**facts, 'problem': 'holds no certificate (PEM)'}
    good = [c for c in found if c.not_valid_before_utc <= now]
    ends = (max if each.trusted else min)(c.not_valid_after_utc for c in (good or found))
    facts |= {'days_left': (ends - now).days, 'expires_at': f'{ends:%Y-%m-%dT%H:%M:%SZ}'}
    if ends <= now:
        facts['problem'] = f'has expired {ends:%Y-%m-%d}'
    elif not good or (len(good) < len(found) and not each.trusted):
        facts['problem'] = f'is not valid before {max(c.not_valid_before_utc for c in found):%Y-%m-%d}'
    return facts
