"""``check``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ovca.cli import base, watch
from ovca.cli.verdict import Verdict
from ovca.exceptions import OvcaError, Refused, UsageError

if TYPE_CHECKING:
    from ovca.remaster.checks import CheckResult


class Check(Verdict, base.Lister):
    """Run the checks that an update has to pass; nothing is changed.

    Names of checks run only these, and show all that they have found. Exit status 0 says that an update could start
    without a question: all have passed or were skipped, or warn of what --accept names. It is 6 when one of them fails
    (checks-failed) or warns (warning-not-accepted).

    Example: ovca check --image-version 1.1.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        ids = parser.add_argument(
            'check', metavar='<check>', nargs='*', help='a check to run, by its id (default: all)'
        )
        base.completes(ids, checks)
        version = parser.add_argument(
            '--image-version', metavar='<version>', help='the image to install; also checks the image'
        )
        base.completes(version, base.images)
        watch.downgrades(parser, 'judge it as an image to go back to, if it is older than what runs')
        watch.accepting(parser, 'let this check warn; may be repeated')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.remaster.acceptance import implied
        from ovca.remaster.checks import run_all

        watch.acceptable(self, parsed_args.accept)
        allowed, only = bool(parsed_args.allow_downgrade), parsed_args.check
        version, database = parsed_args.image_version, self.service.database
        if allowed and version is None:
            raise UsageError('--allow-downgrade is about an image; name it with --image-version', id='bad-option')
        results = run_all(self.conf, database, version, allow_downgrade=allowed, only=only)
        if unknown := sorted({*only} - {result.id for result in results}):
            raise UsageError(
                f'there is no check {unknown[0]!r} here; those of an image need --image-version, and `ovca check` '
                f'without a name lists all',
                id='no-check',
            )
        self.verdict = verdict(results, implied(parsed_args.accept, downgrade=allowed))
        names = ['id', 'result', 'detail', 'remedy']
        if only or parsed_args.formatter not in ('table', 'value') or 'facts' in parsed_args.columns:
            names.append('facts')
        rows = [[getattr(result, name) for name in names] for result in results]
        if parsed_args.formatter == 'table' and names[-1] == 'facts':
            rows = [[*row, dict(flat(facts))] for *row, facts in rows]
        return names, rows


def flat(facts: Any, path: tuple[str, ...] = ()) -> Iterable[tuple[str, Any]]:
    """Facts for people: each value with the way to it, as ``seconds.mn1``."""
    inner = facts.items() if isinstance(facts, Mapping) else enumerate(facts, 1) if isinstance(facts, list) else None
    if inner is None:
        yield '.'.join(path), facts
    else:
        for name, value in inner:
            yield from flat(value, (*path, str(name)))


def checks(service: Any) -> Iterable[str]:
    """The ids of the checks, for Tab."""
    from ovca.remaster.checks import configured

    return configured(service.conf)


def verdict(results: list[CheckResult], accepted: frozenset[str]) -> OvcaError | None:
    """Why an update could not start after these results; None when it could."""
    from ovca.remaster.acceptance import WarningNotAccepted
    from ovca.remaster.checks import Result, warnings

    failed = [r.id for r in results if r.result is Result.FAILED]
    if failed:
        return Refused(
            f'{len(failed)} of {len(results)} checks failed: {", ".join(failed)}; the table has their remedies',
            id='checks-failed',
        )
    missing = warnings(results, accepted)
    return WarningNotAccepted(missing) if missing else None
