"""Backups: made, listed, shown, verified, put back, and deleted."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ovca.cli import base, brief, places, watch
from ovca.cli.verdict import Verdict

if TYPE_CHECKING:
    from ovca.backup.record import Record
    from ovca.backup.restoration import Outcome
    from ovca.backup.shelf import Shelf

FACTS = ('id', 'created_at', 'node', 'by', 'why', 'update_id', 'version', 'revision', 'engine', 'size')


class BackupCreate(base.ShowOne):
    """Make a backup now: the database, the configuration of this node, the site files of both nodes.

    It is made on the shared storage, for root's eyes only. It may be given on both nodes, and at any time; an update
    makes one by itself before its first step. The oldest beyond [backup] keep are deleted.

    Example: ovca backup-create --why 'before the move to another rack'
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--why', metavar='<text>', default='by hand', help='what it is for, as the list shows it')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.backup import creation

        record = creation.create(self.conf, self.service.database, by=self.service.user, why=parsed_args.why)
        return FACTS, [getattr(record, name) for name in FACTS]


class BackupList(base.Lister):
    """List the backups, the newest first. The column `problem` names what cannot be used, as far as a look shows it.

    Example: ovca backup-list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        found = _shelf(self).backups()
        unneeded = ('node', 'by', 'revision', 'engine', *(() if any(each.problem for each in found) else ['problem']))
        names = brief.columns(parsed_args, (*FACTS, 'problem'), without=unneeded)
        facts = [{**_facts(each.record), 'id': each.id, 'problem': each.problem} for each in found]
        return names, [[fact.get(name) for name in names] for fact in facts]


class BackupShow(base.ShowOne):
    """Show one backup, and what is in it.

    Example: ovca backup-show 20261125T101500Z-1.0.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _which(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from dataclasses import asdict

        found, record = _shelf(self).usable(parsed_args.backup)
        contents: Any = [asdict(content) for content in record.contents]
        if parsed_args.formatter == 'table':
            contents = '\n'.join(
                c.name + (f': {c.size} bytes' if c.rows is None else f': {c.rows} rows') for c in record.contents
            )
        facts = {**_facts(record), 'sha256': record.sha256, 'file': found.data, 'problem': found.problem}
        return (*facts, 'foreign', 'contents'), (*facts.values(), list(record.foreign), contents)


class BackupVerify(Verdict, base.ShowOne):
    """Read all of a backup and compare it with its digests; nothing is changed. Exit status 12 when it is damaged.

    Example: ovca backup-verify 20261125T101500Z-1.0.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _which(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.cli import live
        from ovca.exceptions import BackupError

        with _shelf(self).open(parsed_args.backup) as (record, reader), live.RequestView(self.app.stderr) as view:
            problems: Any = reader.verify(_progress(view))
        if problems:
            self.verdict = BackupError(
                f'backup {record.id} is damaged: {problems[0]}; use another one, see `ovca backup-list`',
                id='backup-damaged',
            )
        result = 'failed' if problems else 'passed'
        if parsed_args.formatter == 'table':
            problems = '\n'.join(problems)
        names = ('id', 'sha256', 'result', 'files', 'rows', 'problems')
        return names, (record.id, record.sha256, result, len(record.contents), record.rows, problems)


class BackupRestore(Verdict, base.ShowOne):
    """Put a backup back into the configured database: into an empty one, or with --replace in place of what is there.

    Stop ovca.service on both nodes before. The backup is verified first; then the database is put back in one
    transaction, whichever of the engines it was made on. Afterwards nobody is master, open grants are revoked, and an
    update that was open is over. Start ovca.service first on the node that is to lead.

    With --configuration only the files of the configuration and the site files are written, to a folder of their own;
    the database is left alone. Nothing of them is put into force. In it, nodes/<node> has what that node had saved, as
    files that can be copied into place there.

    Example: ovca backup-restore /nfs/shared_storage/backup/20261125T101500Z-1.0.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = _which(super().get_parser(prog_name))
        parser.add_argument(
            '--replace',
            action='store_true',
            help='lose all that the database knows now; unless --yes is given, the id of the backup has to be typed',
        )
        parser.add_argument(
            '--configuration', action='store_true', help='write the configuration and site files, and nothing else'
        )
        parser.add_argument('--to', metavar='<folder>', type=places.path, help='where --configuration writes them')
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.exceptions import UsageError

        if parsed_args.configuration != (parsed_args.to is not None):
            raise UsageError('--configuration and --to <folder> belong together; give both', id='restore-options')
        if parsed_args.configuration and parsed_args.replace:
            raise UsageError(
                '--configuration leaves the database alone; restore it by a command of its own', id='restore-options'
            )
        return self._files(parsed_args) if parsed_args.configuration else self._database(parsed_args)

    def _files(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.backup import restoration

        with _shelf(self).open(parsed_args.backup) as (record, reader):
            written = restoration.put_files(reader, parsed_args.to)
        return ('id', 'node', 'folder', 'files'), (record.id, record.node, parsed_args.to, [str(p) for p in written])

    def _database(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.backup import restoration
        from ovca.cli import live

        database = self.service.database
        with _shelf(self).open(parsed_args.backup) as (record, reader):
            plan = restoration.plan(self.conf, database, record, replace=parsed_args.replace)
            self.app.stderr.write(f'{base.shown(plan.sentence)}\n')
            if plan.target.empty:
                self.confirm(f'Put backup {record.id} back?', yes=parsed_args.yes)
            else:
                self.confirm_typed(record.id, yes=parsed_args.yes)
            with live.RequestView(self.app.stderr) as view:
                outcome = restoration.carry_out(
                    self.conf,
                    database,
                    reader,
                    replace=parsed_args.replace,
                    who=self.service.user,
                    told=_progress(view),
                )
        self._tell_unknown(outcome)
        return self._told(outcome, table=parsed_args.formatter == 'table')

    def _tell_unknown(self, outcome: Outcome) -> None:
        """Say what is to be done with images that were fetched after the backup."""
        from ovca.image import note

        if outcome.unknown_images:
            what, remedy = note.unknown(outcome.unknown_images)
            watch.tell(self, f'{what}; {remedy}, once ovca.service runs')

    def confirm_typed(self, word: str, *, yes: bool) -> None:
        """Let a word be typed, for what cannot be taken back. :raises Refused: it was another, or nobody is there."""
        from ovca.exceptions import Refused

        if yes:
            return
        if not self.interactive:
            raise Refused(
                'there is no terminal to ask on; nothing was done. Repeat the command with --yes', id='no-terminal'
            )
        self.app.stderr.write(f'All of it is lost. Type {word} to go on: ')
        self.app.stderr.flush()
        if self.app.stdin.readline().strip() != word:
            raise Refused(f'what was typed is not {word}; nothing was done', id='declined')

    def _told(self, outcome: Outcome, *, table: bool) -> base.Record:
        from dataclasses import asdict

        from ovca.backup.base import SourceFailed

        failed = [f'{name}: {why}' for name, why in outcome.sources.items() if why]
        if failed:
            self.verdict = SourceFailed(
                f'the database is put back, but not what these sources have saved: {"; ".join(failed)}'
            )
        facts: dict[str, Any] = {
            'id': outcome.record.id,
            'database': outcome.database,
            'revision': outcome.revision,
            'rows': outcome.rows,
            **asdict(outcome.aftermath),
            'missing_images': outcome.missing_images,
            'unknown_images': outcome.unknown_images,
            'images_problem': outcome.images_problem,
            'left_out': outcome.left_out,
            'sources': {name: why or 'put back' for name, why in outcome.sources.items()},
        }
        if table:
            facts['sources'] = '\n'.join(f'{name}: {told}' for name, told in facts['sources'].items())
        for name, value in facts.items():
            if isinstance(value, tuple):
                facts[name] = '\n'.join(map(str, value)) if table else list(value)
        return tuple(facts), tuple(facts.values())


class BackupDelete(base.Command):
    """Delete backups, for good.

    Example: ovca backup-delete 20261125T101500Z-1.0.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = _which(super().get_parser(prog_name), nargs='+', paths=False)
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        shelf = _shelf(self)
        found = [shelf.find(id) for id in dict.fromkeys(parsed_args.backup)]
        for each in found:
            watch.tell(self, f'{each.folder} will be deleted' + (f': {each.record.why}' if each.record else ''))
        what = f'backup{"s" if len(found) > 1 else ""} {", ".join(each.id for each in found)}'
        self.confirm(f'Delete {what}?', yes=parsed_args.yes)
        for each in found:
            shelf.delete(each.id)
        watch.say(self, f'{what}: deleted')


def _shelf(command: base.Command | base.Lister | base.ShowOne) -> Shelf:
    from ovca.backup.shelf import Shelf

    return Shelf.from_conf(command.conf)


def _which(parser: argparse.ArgumentParser, nargs: str | None = None, *, paths: bool = True) -> argparse.ArgumentParser:
    also = ', or the path of its folder' if paths else ''
    action = parser.add_argument(
        'backup', metavar='<backup>', nargs=nargs, help=f'its id, as `ovca backup-list` shows it{also}'
    )
    base.completes(action, _ids)
    return parser


def _ids(service: Any) -> Iterable[str]:
    from ovca.backup.shelf import Shelf

    return [each.id for each in Shelf.from_conf(service.conf).backups()]


def _facts(record: Record | None) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FACTS} if record is not None else {}


def _progress(view: Any) -> Any:
    return lambda done, total: view({'stage': 'verify', 'done': done, 'total': total})
