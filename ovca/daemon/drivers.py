"""All drivers that the configuration names, imported before ovcad touches anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ovca import notify, plugins
from ovca.backup import base as backup
from ovca.cluster import health, roles
from ovca.power import base as power
from ovca.provision import base as provision
from ovca.provision.site import base as site
from ovca.provision.site import items as site_items
from ovca.remaster import checks, components

if TYPE_CHECKING:
    from oslo_config import cfg


def named(conf: cfg.ConfigOpts) -> list[tuple[str, int, Iterable[str]]]:
    """What this configuration uses: each group with its API number, and the names of the drivers."""
    return [
        (power.GROUP, power.PowerDriver.api, [conf.power.driver]),
        (provision.GROUP, provision.ProvisionDriver.api, [conf.provision.driver]),
        (roles.GROUP, roles.Role.api, conf.cluster.roles),
        (health.GROUP, health.HealthCheck.api, health.configured(conf)),
        (checks.GROUP, checks.Check.api, checks.configured(conf)),
        (notify.GROUP, notify.Notifier.api, conf.notify.drivers),
        (site.GROUP, site.SiteItem.api, site_items.configured(conf)),
        (components.GROUP, components.Component.api, conf.remaster.components),
        (backup.GROUP, backup.BackupSource.api, conf.backup.sources),
    ]


def load_all(conf: cfg.ConfigOpts) -> None:
    """Import what the configuration names, and nothing else of what is installed.

    A driver that is needed only in a take-over or at the end of an update is found to be broken now, and not then.

    :raises PluginError: one of them is not there, or cannot be loaded.
    """
    for group, api, names in named(conf):
        plugins.load_named(group, names, api=api)
