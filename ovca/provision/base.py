"""The interface of a provision driver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ovca import plugins
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


def load(conf: cfg.ConfigOpts) -> ProvisionDriver:
    """Return the driver that ``[provision] driver`` names. :raises PluginError: it cannot be loaded."""
    driver: ProvisionDriver = plugins.load_one(GROUP, conf.provision.driver, api=ProvisionDriver.api)(conf)
    return driver
