"""What the commands that start or follow an update have in common."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ovca.cli import base, lines, live, values
from ovca.exceptions import (
    DatabaseUnavailable,
    FetchError,
    ImageError,
    Interrupted,
    Refused,
    UpdateAborted,
    UpdateFailed,
    UsageError,
)

if TYPE_CHECKING:
    from ovca.remaster.checks import CheckResult
    from ovca.remaster.outlook import Expectation
    from ovca.remaster.plan import Plan
    from ovca.remaster.views import NodeView, RequestView, UpdateView

LIMIT_RATE = (
    'the most bytes a second that the download may use, as 500k, 20M or 1.5G (units of 1024); 0: no limit (default: '
    '[update] limit_rate)'
)
PICKED_UP = '`ovca update-watch` picks it up'


def say(command: base.Command, text: str = '') -> None:
    """Write one line of the result."""
    command.app.stdout.write(f'{base.shown(text)}\n')
    command.app.stdout.flush()


def tell(command: base.Command | base.Lister | base.ShowOne, text: str) -> None:
    """Write one line that is no result: what stands before a question, what goes on."""
    command.app.stderr.write(f'{base.shown(text)}\n')
    command.app.stderr.flush()


def configured(command: base.Command, uri: str | None) -> str:
    """The URI that was given, or else that of the configuration. :raises UsageError: there is neither."""
    from ovca.conf import secrets

    found = secrets.configured(command.conf, 'update', 'uri') if uri is None else uri
    if found is None:
        raise UsageError('no URI was given, and [update] uri is not set; name the bundle to download', id='no-uri')
    return source(found)


def source(uri: str) -> str:
    """The URI for the master's service, whose working folder is another: a path without a scheme made absolute.

    :raises UsageError: there is none. :raises FetchError: it is no URI.
    """
    if not uri:
        raise UsageError('the URI is empty; name the bundle to download', id='no-uri')
    try:
        scheme = urlsplit(uri).scheme
    except ValueError:
        # The URI itself is not repeated: without its parts nobody knows where a password is in it.
        raise FetchError(
            'the URI is not a usable one, its host is not written right; write it as https://host/ovca-1.1.0.iso.zip',
            id='bad-uri',
        ) from None
    return uri if scheme else str(Path(uri).absolute())


def progress(parser: argparse._ActionsContainer) -> None:
    """Add the option that says how progress is told."""
    parser.add_argument(
        '--progress',
        metavar='<form>',
        choices=('text', 'json'),
        default='text',
        help='how progress is told on the standard error: text (the default), or json, an object a line',
    )


def wait(
    command: base.Command, request_id: int, what: str, *, later: str = PICKED_UP, progress: str = 'text'
) -> RequestView:
    """Wait for a request, showing its progress; ``later`` says where its end can be seen.

    :raises Interrupted: Ctrl-C; the request goes on.
    """
    try:
        shown = lines.RequestLines if progress == 'json' else live.RequestView
        with shown(command.app.stderr) as view:
            done: RequestView = command.service.wait(request_id, view, on_notice=view.say)
            return done
    except KeyboardInterrupt:
        raise Interrupted(f'interrupted; {what} goes on, {later}') from None


def wanted(command: base.Command, parsed_args: argparse.Namespace) -> dict[str, Any]:
    """What the master is asked to download, as a request holds it.

    :raises UsageError: there is no URI, or the limit for the rate is none. :raises ImageError: the version is none.
    """
    if parsed_args.image_version is not None:
        from ovca.image.version import ImageVersion

        try:
            ImageVersion(parsed_args.image_version)
        except ImageError as exc:
            raise ImageError(f'--image-version: {exc}', id=exc.id) from None
    return {
        'uri': configured(command, parsed_args.uri),
        'version': parsed_args.image_version,
        'allow_downgrade': parsed_args.allow_downgrade,
        'limit_rate': values.rate(parsed_args.limit_rate),
    }


def download(command: base.Command, wanted: dict[str, Any], *, later: str, progress: str = 'text') -> str | None:
    """Have an image downloaded, and wait for it; return its version, or None if the channel has nothing newer.

    ``later`` is what to do after Ctrl-C.
    """
    number = command.service.submit('download', **wanted)
    result = wait(command, number, 'the download', later=later, progress=progress).result or {}
    tell_path(command, result)
    return result.get('version')


def tell_path(command: base.Command, result: dict[str, Any]) -> None:
    """Say what a channel has led to."""
    if result.get('up_to_date'):
        say(command, f'{result["up_to_date"]} runs, and the channel has nothing newer; there is nothing to do')
    elif len(path := result.get('path') or []) > 1:
        tell(command, f'{path[0]} is the first step on the way to {path[-1]}: {", ".join(path)}')


def chosen(command: base.Command, number: int | None) -> tuple[int | None, int]:
    """What is to be followed: the request that is not finished, if there is one, or else the update.

    The update with this number, or the newest; without the database the newest one that the other node knows.

    :raises UsageError: there is none. :raises DatabaseUnavailable: nobody can tell.
    """
    try:
        waiting = command.service.open_request() if number is None else None
        return (waiting.id, 0) if waiting is not None else (None, command.service.update(number).id)
    except DatabaseUnavailable:
        found = command.service.newest_elsewhere() if number is None else number
        if found is None:
            raise
        return None, found


def _expectation(command: base.Command, update_id: int) -> Expectation | None:
    """How long it is likely to take; nothing while the database is away."""
    try:
        found: Expectation = command.service.expectation(update_id)
    except DatabaseUnavailable:
        return None
    return found


def follow(command: base.Command, update_id: int, *, progress: str = 'text') -> None:
    """Follow an update to its end and say how it ended.

    :raises UpdateFailed: it ended elsewhere than DONE. :raises Interrupted: Ctrl-C; the update goes on.
    """
    from ovca.remaster import plan

    last = None
    try:
        expected = _expectation(command, update_id)
        stream = command.app.stderr
        as_json = progress == 'json'
        with (lines.UpdateLines if as_json else live.UpdateView)(stream, expected=expected) as view:
            for last in command.service.follow(update_id, on_notice=view.say):
                view(last)
    except KeyboardInterrupt:
        raise _interrupted(update_id) from None
    if last is None:
        raise RuntimeError(f'update {update_id} was never seen')
    for line in node_lines(last.nodes):
        say(command, line)
    _judge(last.update)
    say(command, plan.ending(last.update))


def stream(command: base.Command, request_id: int | None, update_id: int) -> None:
    """Follow a request and the update that comes out of it, or an update, as JSON lines on the standard output.

    A request that only downloads has no update; then the number of one is 0.

    :raises UpdateFailed: it ended elsewhere than DONE. :raises Interrupted: Ctrl-C; all goes on.
    """
    if request_id is not None:
        try:
            with lines.RequestLines(command.app.stdout) as told:
                done = command.service.wait(request_id, told, on_notice=told.say)
        except KeyboardInterrupt:
            raise Interrupted(f'interrupted; what was asked for goes on, {PICKED_UP}') from None
        update_id = (done.result or {}).get('update_id') or 0
    if not update_id:
        return
    last = None
    try:
        with lines.UpdateLines(command.app.stdout, expected=_expectation(command, update_id)) as view:
            for last in command.service.follow(update_id, on_notice=view.say):
                view(last)
            if last is not None:
                view.end(last)
    except KeyboardInterrupt:
        raise _interrupted(update_id) from None
    if last is not None:
        _judge(last.update)


def _interrupted(update_id: int) -> Interrupted:
    return Interrupted(f'interrupted; update {update_id} goes on, {PICKED_UP}')


def _judge(update: UpdateView) -> None:
    """:raises UpdateFailed: the update ended elsewhere than DONE."""
    from ovca.remaster import plan
    from ovca.remaster.protocol import State

    if update.state is State.DONE:
        return
    kind = UpdateAborted if update.state is State.ABORTED else UpdateFailed
    raise kind(f'{plan.ending(update)}; {plan.next_step(update)}', id=plan.error_id(update.state))


def node_lines(nodes: tuple[NodeView, ...]) -> list[str]:
    """The nodes as a small table."""
    rows = [(n.name, n.role, n.version or '-', n.health) for n in nodes]
    return live.columns(('node', 'role', 'version', 'health'), rows)


def fetching(parser: argparse.ArgumentParser) -> None:
    """What to download, and how."""
    uri = parser.add_argument(
        'uri', metavar='<uri>', nargs='?', help='the bundle, or the index of a channel (default: [update] uri)'
    )
    base.completes(uri, base.files)
    parser.add_argument(
        '--image-version',
        metavar='<version>',
        help='the version that it must have, that a channel is to give, or that a plain ISO has',
    )
    downgrades(parser, 'take an older version, if the manifest of the one that runs allows it')
    parser.add_argument('--limit-rate', metavar='<rate>', help=LIMIT_RATE)


def downgrades(
    parser: argparse.ArgumentParser,
    text: str = 'go back to an older version, if the manifest of the one that runs allows it',
) -> None:
    """Add the option that allows an older version."""
    parser.add_argument(
        '--allow-downgrade',
        action='store_const',
        const=True,
        help=text,
    )


def accepting(
    parser: argparse.ArgumentParser,
    text: str = 'go on although this check warns; may be repeated, and is kept in the history',
) -> None:
    """Add the option that accepts warnings."""
    parser.add_argument(
        '--accept',
        metavar='<check>',
        action='append',
        default=[],
        help=text,
    )


def acceptable(command: base.Command | base.Lister, accept: list[str]) -> None:
    """Let the names of checks pass whose warnings are accepted; of those that images bring nobody knows all.

    :raises UsageError: there is no such check.
    """
    from ovca.remaster import checks
    from ovca.remaster.checks.brought import PREFIX

    known = checks.configured(command.conf)
    for name in accept:
        if name not in known and not name.startswith(PREFIX):
            raise UsageError(f'--accept {name}: there is no such check; `ovca check` lists all', id='no-check')


def checks(
    command: base.Command,
    version: str,
    accept: list[str],
    *,
    retry: bool = False,
    allow_downgrade: bool | None = None,
) -> list[CheckResult]:
    """Run the checks and show them; return the warnings that nobody has accepted. :raises Refused: one failed."""
    from ovca.remaster.acceptance import implied
    from ovca.remaster.checks import Result, run_all, warnings

    allowed = bool(allow_downgrade)
    results = run_all(command.conf, command.service.database, version, retry=retry, allow_downgrade=allowed)
    for line in live.columns(('check', 'result', 'detail'), [(r.id, r.result.value, r.detail) for r in results]):
        say(command, line)
    failed = [r for r in results if r.result is Result.FAILED]
    if failed:
        why = '; '.join(f'{r.id}: {r.detail}' + (f' ({r.remedy})' if r.remedy else '') for r in failed)
        raise Refused(f'{len(failed)} of {len(results)} checks failed: {why}', id='checks-failed')
    return warnings(results, implied(accept, downgrade=allowed))


def warned(command: base.Command, missing: list[CheckResult], *, asked: bool) -> None:
    """Show the warnings that nobody has accepted, so that the answer to the next question covers them.

    :raises Refused: nobody is ``asked``.
    """
    from ovca.remaster.acceptance import WarningNotAccepted, options

    if missing and not asked:
        raise WarningNotAccepted(missing)
    for each in missing:
        say(command, f'Warning, {each.id}: {each.detail}; {each.remedy}')
    if missing:
        say(command, f'The answer yes accepts that; a script adds {options(missing)}')
        say(command)


def show(command: base.Command, plan: Plan) -> None:
    """Write the plan."""
    say(command)
    for line in plan.lines():
        say(command, line)
    say(command)


def begin(command: base.Command, parsed_args: Any, kind: str, *, planned: bool, **args: Any) -> None:
    """Write the request for an update, and follow what comes of it unless ``--no-wait``.

    ``planned`` says that the operator has seen the plan already.
    """
    number = command.service.submit(kind, **args)
    if parsed_args.no_wait:
        say(command, f'request {number} is with the master; {PICKED_UP}')
        return
    finish(command, number, planned=planned, progress=parsed_args.progress)


def finish(command: base.Command, request_id: int, *, planned: bool, progress: str = 'text') -> None:
    """Wait for a request, and follow the update that comes out of it, if one does."""
    if progress == 'text' and live.is_terminal(command.app.stderr):
        tell(command, f'safe to close this terminal: {PICKED_UP}')
    result = wait(command, request_id, 'what you asked for', progress=progress).result or {}
    tell_path(command, result)
    if result.get('update_id') is not None:
        number = int(result['update_id'])
        if not planned:
            with contextlib.suppress(DatabaseUnavailable):  # the update goes on, and is followed once it answers
                show(command, command.service.plan_of(command.service.update(number)))
        follow(command, number, progress=progress)
        if len(path := result.get('path') or []) > 1:
            tell(command, f'the next step on the way to {path[-1]} is {path[1]}: repeat `ovca update`')
    elif result.get('version'):
        say(command, f'image {result["version"]} is here; install it with `ovca activate {result["version"]}`')
