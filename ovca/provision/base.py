"""The interface of a provision driver."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ovca import plugins
from ovca.exceptions import ProvisionError
from ovca.provision.authority import Order

if TYPE_CHECKING:
    from oslo_config import cfg

GROUP = 'ovca.provision'


class ProvisionDriver(ABC):
    """Writes what a machine's firmware is given; entry-point group ``ovca.provision``."""

    api = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @abstractmethod
    def install_script(self, order: Order) -> str:
        """Return the script that starts the installer with this order."""

    @abstractmethod
    def local_script(self) -> str:
        """Return the script that boots the local disk."""


def words(order: Order) -> dict[str, str]:
    """Return the order's facts by name, each a single word: no script can be told more by a fact than it was meant to.

    :raises ProvisionError: a fact is empty, or holds a space or something unprintable.
    """
    facts = {field.name: str(getattr(order, field.name)) for field in dataclasses.fields(order)}
    for name, value in sorted(facts.items()):
        if not value.isprintable() or len(value.split()) != 1 or value.strip() != value:
            raise ProvisionError(f'{order.node}: {name} of its install order is not a single word; see [provision]')
    return dict(sorted(facts.items()))


def load(conf: cfg.ConfigOpts) -> ProvisionDriver:
    """Return the driver that ``[provision] driver`` names. :raises PluginError: it cannot be loaded."""
    driver: ProvisionDriver = plugins.load_one(GROUP, conf.provision.driver, api=ProvisionDriver.api)(conf)
    return driver
