"""The configuration: ``/etc/ovca.conf``, one module for each group of options.

It is read with oslo.config, from one named file and from nowhere else: no home directories, no environment
variables for single options. What oslo.config would pass over, a misspelt name or a value that is only looked at
hours later, is an error here, at once.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
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

    ``config_file`` falls back to the environment's ``OVCA_CONFIG_FILE`` and then to ``/etc/ovca.conf``, which alone
    may be absent. ``overrides`` are ``group.option=value``, for a single run.

    :raises ConfigError: a file, a value or an option's name is wrong.
    """
    chosen = config_file or os.environ.get(ENVIRONMENT)
    path = chosen or DEFAULT_PATH
    present = Path(path).exists()
    if chosen and not present:
        source = '--config-file' if config_file else f'the environment variable {ENVIRONMENT}'
        raise ConfigError(f'{path} does not exist; name the right file with {source}')
    files = [*_vendor_files(path), *([path] if present else [])]
    for file in files:
        _check_names(file)
    conf = cfg.ConfigOpts()
    register(conf)
    try:
        # An empty list of folders and files keeps oslo.config from looking for its own.
        conf(
            [],
            project='ovca',
            default_config_files=files,
            default_config_dirs=[],
            use_env=False,
        )
    except cfg.Error as exc:
        raise ConfigError(f'{path}: {exc}; mend the file') from exc
    _override(conf, overrides)
    _check_values(conf, path)
    _check_together(conf, path)
    return conf


def _vendor_files(path: str) -> list[str]:
    """The defaults that an image brings, beside the site's file, which wins: ``/etc/ovca/vendor.d/*.conf``."""
    return [str(file) for file in sorted(Path(path).parent.glob('ovca/vendor.d/*.conf'))]


def _check_names(path: str) -> None:
    """Report what oslo.config would ignore: groups and options that do not exist."""
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except cfg.ParseError as exc:
        raise ConfigError(
            f'{path}: line {exc.lineno} ({(exc.line or "").strip()!r}): {exc.msg}; write [group], and '
            f'option = value below it'
        ) from exc
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f'{path} cannot be read: {exc}') from exc
    known = {group: [opt.dest for opt in opts] for group, opts in list_opts()}
    for group, options in sections.items():
        if group == 'DEFAULT' and not options:  # oslo.config's generator writes its heading
            continue
        if group not in known:
            raise ConfigError(f'{path}: there is no group [{group}]; {_hint(group, known)}')
        for option in options:
            if option not in known[group]:
                raise ConfigError(f'{path}: [{group}] has no option {option}; {_hint(option, known[group])}')


def _hint(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), 1) if word != 'DEFAULT' else []
    return f'did you mean {close[0]}?' if close else 'see `ovca config-show` for all of them'


def _override(conf: cfg.ConfigOpts, overrides: Sequence[str]) -> None:
    known = {group: [opt.dest for opt in opts] for group, opts in list_opts()}
    for text in overrides:
        name, equals, value = text.partition('=')
        group, dot, option = name.partition('.')
        if not (equals and dot):
            raise ConfigError(f'--set {text}: write it as group.option=value')
        if group not in known:
            raise ConfigError(f'--set {text}: there is no group [{group}]; {_hint(group, known)}')
        if option not in known[group]:
            raise ConfigError(f'--set {text}: [{group}] has no option {option}; {_hint(option, known[group])}')
        try:
            conf.set_override(option, value, group=group)
        except ValueError as exc:
            raise ConfigError(f'--set {text}: {_reason(exc)}') from exc


def _check_values(conf: cfg.ConfigOpts, path: str) -> None:
    for group, opts in list_opts():
        for opt in opts:
            try:
                getattr(getattr(conf, group), opt.dest)
            except (cfg.Error, ValueError) as exc:
                raise ConfigError(f'{path}: [{group}] {opt.dest}: {_reason(exc)}') from exc


def _check_together(conf: cfg.ConfigOpts, path: str) -> None:
    """What no single option can promise: a master gives up before its lease can be taken by the other."""
    own = conf.cluster
    if not own.renew_interval < own.self_demote < own.ttl:
        raise ConfigError(
            f'{path}: [cluster] renew_interval = {own.renew_interval:g}, self_demote = {own.self_demote:g} and '
            f'ttl = {own.ttl:g} must rise in this order, or two nodes could act as master'
        )
    if own.peer and own.peer == own.node_name:
        raise ConfigError(f"{path}: [cluster] peer is this node's own name, {own.peer}; name the other node")


def _reason(exc: Exception) -> str:
    """What is wrong with a value, without oslo.config's talk of locations."""
    if isinstance(exc, cfg.TemplateSubstitutionError | cfg.NoSuchOptError | cfg.NoSuchGroupError):
        return f'{exc}; a dollar sign refers to another option, write $$ for the sign itself'
    text = str(exc)
    return text.partition(' is not valid: ')[2] or text
