"""The configuration: ``/etc/ovca.conf``, one module for each group of options."""

from __future__ import annotations

import configparser
import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from ovca.conf import check, cluster, database, health, image, notify, power, provision, remaster, update
from ovca.exceptions import ConfigError

DEFAULT_PATH = '/etc/ovca.conf'
ENVIRONMENT = 'OVCA_CONFIG_FILE'
MODULES = (update, image, database, cluster, remaster, provision, power, health, check, notify)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """All options by group, for the sample's generator and the documentation."""
    return [(module.GROUP, list(module.OPTS)) for module in MODULES]


def register(conf: cfg.ConfigOpts) -> None:
    """Make all groups known to ``conf``."""
    for module in MODULES:
        conf.register_opts(module.OPTS, group=module.GROUP)


def load(config_file: str | None = None, overrides: Sequence[str] = ()) -> cfg.ConfigOpts:
    """Read the configuration from one named file and check every value in it.

    ``config_file`` falls back to the environment's ``OVCA_CONFIG_FILE`` and then to ``/etc/ovca.conf``, which alone may
    be absent. ``overrides`` are ``group.option=value``, for a single run.

    :raises ConfigError: a file, a value or an option's name is wrong.
    """
    chosen = config_file or os.environ.get(ENVIRONMENT)
    path = chosen or DEFAULT_PATH
    present = Path(path).exists()
    if chosen and not present:
        raise ConfigError(f'{path} does not exist; name the right file with --config-file')
    conf = cfg.ConfigOpts()
    register(conf)
    if present:
        _unknown_keys(path)
    try:
        conf([], project='ovca', default_config_files=[path] if present else [], default_config_dirs=[], use_env=False)
    except cfg.Error as exc:
        raise ConfigError(f'{path}: {exc}; mend the file') from exc
    _override(conf, overrides)
    _check_values(conf, path)
    return conf


def _unknown_keys(path: str) -> None:
    parser = configparser.RawConfigParser(strict=False, interpolation=None, delimiters=('=', ':'))
    try:
        parser.read_string(Path(path).read_text(encoding='utf-8'), path)
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f'{path} cannot be read: {exc}') from exc
    except configparser.Error as exc:
        raise ConfigError(f'{path} is not in the form [group] and option = value: {str(exc).splitlines()[0]}') from exc
    known = {group: {opt.dest for opt in opts} for group, opts in list_opts()}
    for group in parser.sections():
        if group not in known:
            raise ConfigError(f'{path}: there is no group [{group}]{_near(group, known)}')
        for option in parser.options(group):
            if option not in known[group]:
                raise ConfigError(f'{path}: [{group}] has no option {option}{_near(option, known[group])}')


def _near(word: str, known: Sequence[str] | dict[str, set[str]] | set[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f'; did you mean {close[0]}?' if close else '; see `ovca config-show` for all of them'


def _override(conf: cfg.ConfigOpts, overrides: Sequence[str]) -> None:
    for text in overrides:
        name, equals, value = text.partition('=')
        group, dot, option = name.partition('.')
        if not (equals and dot):
            raise ConfigError(f'--set {text}: write it as group.option=value')
        try:
            conf.set_override(option, value, group=group)
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError) as exc:
            raise ConfigError(f'--set {text}: there is no option [{group}] {option}') from exc
        except ValueError as exc:
            raise ConfigError(f'--set {text}: {exc}') from exc


def _check_values(conf: cfg.ConfigOpts, path: str) -> None:
    for group, opts in list_opts():
        for opt in opts:
            try:
                getattr(getattr(conf, group), opt.dest)
            except (cfg.Error, ValueError) as exc:
                raise ConfigError(f'{path}: [{group}] {opt.dest}: {exc}') from exc
