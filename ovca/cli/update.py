"""``update``, ``activate``, and the commands on one update."""

from __future__ import annotations

import argparse
from typing import Any

from ovca.cli import base, brief, values, watch
from ovca.exceptions import Refused

DRY_RUN = 'run the checks, show the plan, and stop'
NO_WAIT = 'return as soon as the master has been asked'


def _arguments(parser: argparse.ArgumentParser, *, dry_run: str = DRY_RUN, no_wait: str = NO_WAIT) -> None:
    parser.add_argument('--yes', action='store_true', help='do not ask')
    parser.add_argument(
        '--pause-before-commit',
        action='store_const',
        const=True,
        help='stop before the commit point, with the new software as master, until `ovca update-continue`',
    )
    # A dry run asks the master for nothing that could be waited for.
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--dry-run', action='store_true', help=dry_run)
    how.add_argument('--no-wait', action='store_true', help=no_wait)
    watch.accepting(parser)
    watch.progress(parser)


class Activate(base.Command):
    """Install a downloaded image on both nodes, one after the other.

    Runs the checks, shows the plan, asks once, and follows the update to its end, where exit status 0 says that both
    nodes run the image.

    Example: ovca activate 1.1.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        base.completes(
            parser.add_argument('version', metavar='<version>', help='the image, as `ovca image-list` shows it'),
            base.images,
        )
        watch.downgrades(parser)
        _arguments(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        watch.acceptable(self, parsed_args.accept)
        if not parsed_args.dry_run:
            self.service.must_lead()
        activate(self, parsed_args, parsed_args.version)


class Update(base.Command):
    """Download an image and install it on both nodes: the whole way.

    Without a URI it is the one in [update] uri. One that ends in .json is the index of a channel: it takes the newest
    image that may be installed over what runs. Without --yes it shows the checks and the plan after the download, and
    asks once. It follows the update to its end, where exit status 0 says that both nodes run the image. The terminal
    may go away at any time; `ovca update-watch` picks it up.

    Example: ovca update https://updates.example.com/ovca-1.1.0.iso.zip
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        watch.fetching(parser)
        _arguments(
            parser,
            dry_run='download the image, run the checks, show the plan, and stop: nothing is installed',
            no_wait='do not follow the update; without --yes, return after the download and the answer to the question',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        watch.acceptable(self, parsed_args.accept)
        wanted, version = watch.wanted(self, parsed_args), parsed_args.image_version
        if parsed_args.yes and not parsed_args.dry_run:
            held, accept = parsed_args.pause_before_commit, parsed_args.accept or None
            watch.begin(self, parsed_args, 'update', planned=False, pause_before_commit=held, accept=accept, **wanted)
            return
        self.service.must_lead()
        if not parsed_args.dry_run:
            self.service.installable(version)
            # Which version it is, is known after its first kilobytes: soon enough to refuse it.
            wanted['to_install'] = True if self.service.open_update() is not None else None
        if version is None or version not in {i.version for i in self.service.images()}:
            later = f'{watch.PICKED_UP}; no update was begun: repeat the command for that'
            version = watch.download(self, wanted, later=later, progress=parsed_args.progress)
        if version is None:
            return
        watch.tell(self, f'image {version} is here')
        activate(self, parsed_args, version)


def activate(command: base.Command, parsed_args: Any, version: str) -> None:
    """Check, plan, ask, and begin; an open update to the same version is followed instead."""
    current = command.service.open_update()
    if current is not None and current.version == version and not parsed_args.dry_run:
        watch.say(command, f'update {current.id} to {version} is going on already')
        if parsed_args.pause_before_commit:
            command.service.heed_hold(current.id)
        if not parsed_args.no_wait:
            watch.follow(command, current.id, progress=parsed_args.progress)
        return
    if not parsed_args.dry_run:
        command.service.installable(version)
    plan = command.service.plan(version)
    accept, allowed = parsed_args.accept, parsed_args.allow_downgrade
    missing = watch.checks(command, version, accept, allow_downgrade=allowed)
    watch.show(command, plan)
    watch.warned(command, missing, asked=parsed_args.dry_run or (command.interactive and not parsed_args.yes))
    if parsed_args.dry_run:
        return
    again = f'ovca activate {version}' + (' --allow-downgrade' if plan.downgrade else '')
    again += ' --pause-before-commit' if parsed_args.pause_before_commit else ''
    question = f'{"Downgrade" if plan.downgrade else "Update"} both nodes to {version}?'
    _confirm(command, question, parsed_args.yes, f'`{again}` starts it later')
    watch.begin(
        command,
        parsed_args,
        'activate',
        planned=True,
        version=version,
        allow_downgrade=allowed,
        pause_before_commit=parsed_args.pause_before_commit,
        accept=[*accept, *(each.id for each in missing)] or None,
    )


def _confirm(command: base.Command, question: str, yes: bool, later: str) -> None:
    try:
        command.confirm(question, yes=yes)
    except Refused as exc:
        raise Refused(f'{exc}; {later}', id=exc.id) from None


class UpdateAbort(base.Command):
    """Abort the update that is going on, after showing where that would end.

    Example: ovca update-abort --reason 'the rack must be moved'
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--reason', metavar='<text>', help='why; it is kept with the update')
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        current = self.service.update()
        landing = self.service.landing(current)
        if not landing.possible:
            raise Refused(landing.sentence, id='no-abort')
        self.service.must_lead()
        watch.tell(self, f'update {current.id} to {current.version} is in {current.state}: {landing.sentence}')
        self.confirm(f'Abort update {current.id}?', yes=parsed_args.yes)
        number = self.service.submit('abort', update_id=current.id, reason=parsed_args.reason)
        watch.wait(self, number, 'the abort')
        watch.say(self, f'the abort of update {current.id} is under way; `ovca update-watch` shows its end')


class UpdateRetry(base.Command):
    """Repeat the last update, which failed, from where it may go on.

    Example: ovca update-retry
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _arguments(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        watch.acceptable(self, parsed_args.accept)
        if not parsed_args.dry_run:
            self.service.must_lead()
            self.service.must_be_free('a retry')
        plan = self.service.retry_plan()
        missing = watch.checks(self, plan.version, parsed_args.accept, retry=True)
        watch.show(self, plan)
        watch.warned(self, missing, asked=parsed_args.dry_run or (self.interactive and not parsed_args.yes))
        if parsed_args.dry_run:
            return
        self.confirm(f'Retry update {plan.retry_of}?', yes=parsed_args.yes)
        watch.begin(
            self,
            parsed_args,
            'retry',
            planned=True,
            update_id=plan.retry_of,
            pause_before_commit=parsed_args.pause_before_commit,
            accept=[*parsed_args.accept, *(each.id for each in missing)] or None,
        )


class UpdateWatch(base.Command):
    """Follow an update, or what is being downloaded for one; works on both nodes.

    The exit status tells how it ended: 0 is DONE, 12 ABORTED, 8 another end. While the database does not answer here,
    the other node is asked. Ctrl-C ends the watching, and not the update.

    Example: ovca update-watch
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        update = parser.add_argument('id', metavar='<id>', nargs='?', help='the update (default: the latest)')
        base.completes(update, base.updates)
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            '-f',
            '--format',
            dest='formatter',
            metavar='<form>',
            choices=('text', 'json'),
            default='text',
            help='text (the default), or json: events and changes as an object a line, on the standard output',
        )
        watch.progress(how)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        waiting, number = watch.chosen(self, values.update_id(parsed_args.id))
        if parsed_args.formatter == 'json':
            watch.stream(self, waiting, number)
        elif waiting is not None:
            watch.finish(self, waiting, planned=True, progress=parsed_args.progress)
        else:
            watch.follow(self, number, progress=parsed_args.progress)


class UpdateList(base.Lister):
    """List the updates, the newest first.

    Example: ovca update-list --limit 50 --before 1200
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--limit', metavar='<number>', default='20', help='how many (default: 20)')
        before = parser.add_argument('--before', metavar='<id>', help='go on with those before this one')
        base.completes(before, base.updates)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        names = ('id', 'state', 'old_version', 'version', 'first', 'second', 'created_at', 'finished_at', 'created_by')
        shown = brief.columns(parsed_args, names, without=('second', 'finished_at', 'created_by'))
        limit = values.number('--limit', parsed_args.limit, most=values.MOST_ROWS)
        found = self.service.updates(limit, before=values.update_id(parsed_args.before))
        return shown, [[getattr(u, name) for name in shown] for u in found]


class UpdateShow(base.ShowOne):
    """Show the whole story of an update: how it stands or ended, how long each step took, and what to do next.

    Example: ovca update-show 3 -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        update = parser.add_argument('id', metavar='<id>', nargs='?', help='the update (default: the latest)')
        base.completes(update, base.updates)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        story = self.service.story(values.update_id(parsed_args.id))
        if (alone := self.service.alone()) is not None:
            watch.tell(self, str(alone))
        facts: dict[str, Any] = story.as_dict()
        if parsed_args.formatter == 'table':
            from ovca.cli import timeline

            facts |= timeline.readable(story)
        return tuple(facts), tuple(facts.values())
