"""Commands about the configuration."""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ovca.cli import base
from ovca.cli.verdict import Verdict

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.conf.configuration import Configuration
    from ovca.plugins import Extension


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

        conf = cast('Configuration', self.conf)
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
        if wanted is not None:
            if not conf.adopt(wanted):
                known = ', '.join([*conf.options, *plugins])
                raise UsageError(f'there is no group {wanted!r}; the groups are {known}', id='no-group')
            return {wanted: conf.options[wanted]}
        for name in plugins:
            try:
                conf.adopt(name)
            except PluginError as exc:
                self.complain(str(exc))
        return conf.options


class ConfigCheck(Verdict, base.Lister):
    """Look for everything that is wrong with the configuration, and show all of it at once; nothing is changed.

    Names and values in all files, how they fit together, paths and permissions on this node, the extensions that are
    named, the database and the BMCs. Exit status 3 when something failed.

    Example: ovca config-check --offline
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--offline', action='store_true', help='ask neither the database nor the BMCs')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca import conf
        from ovca.cli import probes
        from ovca.conf import inspection, paths, reading
        from ovca.exceptions import ConfigError

        path = conf.chosen_path(getattr(self.app_args, 'config_file', None))
        chosen, findings = reading.examine(path, getattr(self.app_args, 'set', ()))
        values = reading.values_of(chosen)[0]
        found = [
            *inspection.overview(path, chosen.sources, findings),
            *findings,
            *[f for source in chosen.sources for f in inspection.twice(source)],
            *inspection.nodes(path, values),
            *paths.readable(chosen.sources, chosen.options),
            *paths.look(values, chosen.options),
            *probes.extensions(values),
        ]
        if parsed_args.offline:
            found += probes.offline(values)
        else:
            answer, database = probes.database(chosen, values)
            found += [answer, *probes.bmcs(chosen, values, database)]
        failed = sum(f.failed for f in found)
        if failed:
            self.verdict = ConfigError(
                f'{failed} of {len(found)} checks of the configuration failed; their remedies stand in the table',
                id='config-failed',
            )
        return ('where', 'result', 'detail', 'remedy'), [(f.where, f.result, f.detail, f.remedy) for f in found]


class ConfigSample(base.Command):
    """Print a configuration with every option explained, those of the installed plugins too.

    Each option stands in it as a comment, with its default; ``<None>`` is shown where there is none.

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
        text = io.StringIO()
        generator.generate(settings, output_file=text)
        self.app.stdout.write(_with_packages(text.getvalue(), groups.installed()))


def _with_packages(text: str, installed: Mapping[str, Extension]) -> str:
    """Name above each plugin's options the package that brings them; the generator knows only that it is a plugin."""
    lines, group = [], ''
    for line in text.split('\n'):
        if line.startswith('[') and line.endswith(']'):
            group = line[1:-1]
        known = line == '# From ovca.plugins' and group in installed
        lines.append(f'# From {installed[group].package}' if known else line)
    return '\n'.join(lines)
