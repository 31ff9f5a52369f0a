"""Commands about the configuration."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ovca.cli import base

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.conf.configuration import Configuration


class ConfigShow(base.Lister):
    """Show every option with its value and where the value comes from; secrets are masked.

    The groups of installed plugins are shown as well.

    Example: ovca config-show -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        group = parser.add_argument('group', metavar='<group>', nargs='?', help='show this group only, as update')
        base.completes(group, base.groups)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.conf.masking import masked

        conf: Configuration = self.app.conf
        rows = []
        for group, options in self._groups(conf, parsed_args.group).items():
            for option in options:
                value = masked(getattr(conf[group], option.dest), secret=option.secret)
                rows.append((group, option.dest, value, conf.origin(group, option)))
        return ('group', 'option', 'value', 'source'), rows

    def _groups(self, conf: Configuration, wanted: str | None) -> dict[str, list[cfg.Opt]]:
        from ovca.conf import groups
        from ovca.exceptions import PluginError, UsageError

        plugins = groups.installed()
        if wanted:
            if not conf.adopt(wanted):
                known = ', '.join([*conf.options, *plugins])
                raise UsageError(f'there is no group {wanted}; the groups are {known}')
            return {wanted: conf.options[wanted]}
        for name in plugins:
            try:
                conf.adopt(name)
            except PluginError as exc:
                self.complain(str(exc))
        return conf.options


class ConfigSample(base.Command):
    """Print a configuration with every option explained, those of the installed plugins too.

    Each option stands in it as a comment, with its default.

    Example: ovca config-sample > ovca.conf.sample
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from oslo_config import cfg, generator

        from ovca.conf import groups

        for exc in groups.all_installed()[1]:
            self.complain(str(exc))
        settings = cfg.ConfigOpts()
        generator.register_cli_opts(settings)
        settings(
            ['--namespace', 'ovca', '--namespace', 'ovca.plugins', '--wrap-width', '90'],
            default_config_files=[],
            default_config_dirs=[],
            use_env=False,
        )
        generator.generate(settings, output_file=self.app.stdout)
