"""``ovca hello-list``."""

from __future__ import annotations

import argparse

from ovca.cli import base


class HelloList(base.Lister):
    """Greet each node.

    Example: ovca hello-list --language de
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--language', metavar='<language>', help='de, en or fr (default: [hello] language)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.exceptions import UsageError
        from ovca_hello.greetings import GREETINGS, greeting

        language = parsed_args.language or self.conf.hello.language
        if language not in GREETINGS:
            known = ', '.join(sorted(GREETINGS))
            raise UsageError(f'nobody here speaks {language!r}; --language takes {known}', id='hello-language')
        rows = [(node.name, node.role, greeting(node.name, language)) for node in self.service.nodes()]
        return ('name', 'role', 'greeting'), rows
