"""What ``ovca config-check`` asks others: the plugins that the configuration names, the database, the BMCs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca import plugins
from ovca.conf.configuration import Configuration
from ovca.conf.inspection import Finding, Result
from ovca.exceptions import ConfigError, DatabaseError, OvcaError, PluginError
from ovca.files import is_there

if TYPE_CHECKING:
    from ovca.db.engine import Database

Values = Mapping[str, Any]
NAMED = (
    ('power.driver', 'ovca.power.base', 'PowerDriver'),
    ('provision.driver', 'ovca.provision.base', 'ProvisionDriver'),
    ('health.checks', 'ovca.cluster.health', 'HealthCheck'),
    ('check.enabled', 'ovca.remaster.checks', 'Check'),
    ('notify.drivers', 'ovca.notify.base', 'Notifier'),
    ('cluster.roles', 'ovca.cluster.roles', 'Role'),
    ('provision.site_items', 'ovca.provision.site.base', 'SiteItem'),
    ('remaster.components', 'ovca.remaster.components', 'Component'),
    ('backup.sources', 'ovca.backup.base', 'BackupSource'),
)
"""The options that name extensions, with the module and the base class of their kind; the module knows the group."""


def extensions(values: Values) -> Iterator[Finding]:
    """Whether what the configuration names can be loaded, and which groups of options are ignored."""
    for loser, winner in plugins.clashes('ovca.conf'):
        yield _warning('plugins', f'{loser} is ignored, as the name belongs to {winner.package}', 'remove the package')
    for name, module, base in NAMED:
        group, _, option = name.partition('.')
        room = importlib.import_module(module)
        given = values.get(name) or []
        for extension in [given] if isinstance(given, str) else dict.fromkeys(given):
            where = f'[{group}] {option}'
            try:
                plugins.load_one(room.GROUP, extension, api=getattr(room, base).api)
            except PluginError as exc:
                yield _failed(where, exc)
            else:
                yield Finding(where, f'{extension}: {plugins.chosen(room.GROUP)[extension].package}', '', Result.PASSED)


def database(conf: Configuration, values: Values) -> tuple[Finding, Database | None]:
    """Whether the database answers, and its schema is one that this software can work on; if so, the database too."""
    from ovca.db import engine, schema

    where = '[database]'
    if bad := _wrong(conf, values, 'database'):
        return _skipped(where, f'{bad} is wrong'), None
    try:
        engine.check_single_host(conf)
        url = engine.parse_url(engine.configured_url(conf))
        file = url.database if url.get_backend_name() == 'sqlite' else None
        if file and not is_there(file) and Path(file).parent.is_dir():  # to connect would make it
            return _warning(where, f'{file} does not exist yet', 'start ovcad, which makes it'), None
        found = engine.Database.from_conf(conf)
        revision = schema.current(found)
        if revision is None:
            return _warning(where, f'{found} is empty', 'start ovcad, which makes the tables'), None
        schema.check(found)
    except (ConfigError, DatabaseError) as exc:
        return _failed(where, exc), None
    return Finding(where, f'{found}: schema revision {revision}', '', Result.PASSED), found


def bmcs(conf: Configuration, values: Values, known: Database | None) -> Iterator[Finding]:
    """Whether the BMCs of both nodes tell the power state; ``known`` may know what the configuration leaves out."""
    from ovca import power
    from ovca.cluster import nodes

    for node in (values.get('cluster.node_name'), values.get('cluster.peer')):
        if not node:
            continue
        where = f'BMC of {node}'
        if bad := _wrong(conf, values, 'power'):
            yield _skipped(where, f'{bad} is wrong')
            continue
        try:
            with nodes.power_of(conf, known, node) if known else power.load(conf, node) as driver:
                state = driver.state()
        except OvcaError as exc:
            # A node may be alone, and never be installed from the network.
            alone = exc.id == 'no-bmc' and not values.get('cluster.peer')
            yield _skipped(where, 'there is none, and no other node') if alone else _failed(where, exc)
        else:
            yield Finding(where, f'the power is {state.value}', '', Result.PASSED)


def offline(values: Values) -> Iterator[Finding]:
    """The rows for what is not asked."""
    yield _skipped('[database]', '--offline was given')
    for node in filter(None, (values.get('cluster.node_name'), values.get('cluster.peer'))):
        yield _skipped(f'BMC of {node}', '--offline was given')


def _wrong(conf: Configuration, values: Values, group: str) -> str | None:
    bad = [opt.dest for opt in conf.options[group] if f'{group}.{opt.dest}' not in values]
    return f'[{group}] {bad[0]}' if bad else None


def _warning(where: str, detail: str, remedy: str) -> Finding:
    return Finding(where, detail, remedy, Result.WARNING)


def _skipped(where: str, why: str) -> Finding:
    return Finding(where, f'skipped: {why}', '', Result.SKIPPED)


def _failed(where: str, exc: OvcaError) -> Finding:
    detail, _, remedy = str(exc).partition('; ')
    return Finding(where, detail.removeprefix(f'{where} '), remedy, id=exc.id)
