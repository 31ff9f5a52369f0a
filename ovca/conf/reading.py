"""From files to a configuration, and to all that is wrong with it. Whether that matters is the caller's to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from ovca import plugins
from ovca.conf import files, groups, inspection
from ovca.conf.configuration import DEFAULT, OVERRIDE, Configuration
from ovca.conf.inspection import Finding
from ovca.exceptions import ConfigError, PluginError


def examine(path: str, overrides: Sequence[str] = ()) -> tuple[Configuration, list[Finding]]:
    """Read the site's file and the vendor's beside it; return them as a configuration, with what is wrong in them.

    The configuration can be used as far as nothing is wrong: a wrong value raises when it is looked up.
    """
    sources: list[files.Source] = []
    findings: list[Finding] = []
    for each in files.paths(path):
        try:
            sources.append(files.parse(each))
        except ConfigError as exc:
            findings.append(_of(each, exc))
    conf = Configuration(path, sources)
    broken = _adopt(conf, sources, findings)
    known = groups.words(conf.options)
    if any(group not in known for source in sources for group in source.sections):
        broken += groups.installed()  # the nearest right name may be a plugin's
    for source in sources:
        findings += inspection.names(source, known, broken)
    try:
        conf.read()
    except cfg.Error as exc:
        findings.append(Finding(path, str(exc), 'mend the file', id='config-unreadable'))
        return conf, findings
    findings += _override(conf, overrides)
    values, wrong = values_of(conf)
    return conf, [*findings, *wrong, *inspection.conflicts(path, values)]


def _of(path: str, exc: ConfigError) -> Finding:
    return Finding(path, str(exc).removeprefix(f'{path}: ').removeprefix(f'{path} '), id=exc.id)


def _adopt(conf: Configuration, sources: Sequence[files.Source], findings: list[Finding]) -> list[str]:
    """Make the plugins' groups known that the files name; return those that are broken."""
    broken = []
    named = {group: source.path for source in reversed(sources) for group in source.sections}
    for group, path in named.items():
        try:
            conf.adopt(group)
        except PluginError as exc:
            findings.append(_not_loaded(path, group, exc, f'take [{group}] out of the file'))
            broken.append(group)
    return broken


def _not_loaded(where: str, group: str, exc: PluginError, instead: str) -> Finding:
    """The options of a plugin cannot be had; ``instead`` is what to do until its package is mended."""
    extension = groups.installed()[group]
    cause, _, remedy = plugins.cause(extension, exc).rpartition('; ')
    package = f'{extension.package} {extension.version}'
    detail = f'[{group}] belongs to package {package}, whose options cannot be loaded: {cause}'
    return Finding(where, detail, f'{remedy}, or {instead}', id=exc.id)


def _override(conf: Configuration, overrides: Sequence[str]) -> list[Finding]:
    """Set what ``--set`` says. The value is never told: it may be a secret."""
    findings = []
    for text in overrides:
        name, equals, value = text.partition('=')
        group, dot, option = name.partition('.')
        where = f'{OVERRIDE} {name}'
        if not (equals and dot):
            findings.append(Finding(where, 'write it as group.option=value', id='config-override'))
            continue
        try:
            if not conf.adopt(group):
                findings.append(inspection.no_group(where, group, [*conf.options, *groups.installed()]))
                continue
        except PluginError as exc:
            findings.append(_not_loaded(where, group, exc, f'leave {where} away'))
            continue
        known = {opt.dest: opt for opt in conf.options[group]}
        if option not in known:
            findings.append(inspection.no_option(where, group, option, known))
            continue
        try:
            conf.override(group, option, value)
        except ValueError as exc:
            reason, remedy = inspection.reason(known[option], exc), inspection.remedy(known[option])
            findings.append(Finding(where, reason, remedy, id='config-value'))
    return findings


def values_of(conf: Configuration) -> tuple[dict[str, Any], list[Finding]]:
    """Every value by ``group.option``, and those that cannot be had, with the reason."""
    values: dict[str, Any] = {}
    wrong = []
    for group, options in conf.options.items():
        for opt in options:
            try:
                value = getattr(conf[group], opt.dest)
                flaw = inspection.flaw(opt, value)
            except (cfg.Error, ValueError) as exc:
                flaw = inspection.reason(opt, exc)
            if flaw is None:
                values[f'{group}.{opt.dest}'] = value
                continue
            where = conf.origin(group, opt)
            where = conf.path if where == DEFAULT else where
            wrong.append(Finding(where, f'[{group}] {opt.dest}: {flaw}', inspection.remedy(opt), id='config-value'))
    return values, wrong
