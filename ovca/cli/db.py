"""The database: looked at, and brought to this software's revision."""

from __future__ import annotations

import argparse
from typing import Any

from ovca.cli import base, watch
from ovca.cli.verdict import Verdict


class DbCheck(Verdict, base.ShowOne):
    """Check the database from this node: can it be reached, do its tables and clock fit, is it whole.

    Nothing is changed. Exit status 9 when something is wrong.

    Example: ovca db-check -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from dataclasses import asdict

        from ovca.db.diagnosis import diagnose
        from ovca.exceptions import DatabaseError

        found = diagnose(self.service.database)
        if found.problems:
            many = f'{len(found.problems)} problems, the first is: ' if len(found.problems) > 1 else ''
            self.verdict = DatabaseError(f'{many}{found.problems[0]}', id='database-problems')
        facts: dict[str, Any] = asdict(found)
        if parsed_args.formatter == 'table':
            facts['problems'] = '\n'.join(found.problems)
        return tuple(facts), tuple(facts.values())


class DbUpgrade(base.Command):
    """Bring the tables of the database to the revision of this software; an empty database gets its tables.

    It is one transaction. It is refused while an update is open or the nodes run different software: after an update
    the master does it by itself. There is no way back to an older revision.

    Example: ovca db-upgrade
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from ovca.remaster import migration

        database = self.service.database
        found = migration.plan(database)
        if not found.due:
            watch.say(self, found.sentence)
            return
        watch.tell(self, found.sentence)
        self.confirm(f'Bring the database to revision {found.head}?', yes=parsed_args.yes)
        migration.carry_out(database, found, self.service.user)
        watch.say(self, f'the database {found.database} has revision {found.head}')
