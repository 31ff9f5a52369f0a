"""Letting an update wait for a person, and seeing what would happen."""

from __future__ import annotations

import argparse

from ovca.cli import base, watch
from ovca.exceptions import Refused


class UpdatePause(base.Command):
    """Let the update that is going on stop before its next stage, until it is continued.

    What was begun goes on to its end; while the update waits, no deadline passes. Failures and aborts act as ever.

    Example: ovca update-pause --reason 'wait for the night shift'
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--reason', metavar='<text>', help='why; it is kept with the update')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from ovca.remaster.protocol import pause_effect

        current = self.service.update()
        effect = pause_effect(current.state)
        if not effect.possible:
            raise Refused(effect.sentence, id='no-pause')
        number = self.service.submit('pause', reason=parsed_args.reason)
        watch.wait(self, number, 'the pause')
        watch.say(
            self,
            f'update {current.id} is paused in {current.state}: {effect.sentence}; let it go on with '
            f'`ovca update-continue`',
        )


class UpdateContinue(base.Command):
    """Let an update go on that was paused, or that waits before its commit point.

    Example: ovca update-continue
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        watch.progress(parser)
        parser.add_argument('--no-wait', action='store_true', help='return as soon as the update goes on')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        number = self.service.submit('continue')
        result = watch.wait(self, number, 'the update').result or {}
        watch.say(self, f'update {result["update_id"]} goes on')
        if not parsed_args.no_wait:
            watch.follow(self, int(result['update_id']), progress=parsed_args.progress)


class UpdateExplain(base.ShowOne):
    """Tell what the update does now and why, what an abort would do, and what happens if something fails now.

    Worked out from the same table that carries the update out; works on both nodes.

    Example: ovca update-explain -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        facts = self.service.explain()
        return tuple(facts), tuple(facts.values())
