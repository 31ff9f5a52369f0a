"""Power control of machines by their BMCs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovca import plugins
from ovca.conf import secrets
from ovca.exceptions import ConfigError
from ovca.power.base import GROUP, Bmc, PowerDriver

if TYPE_CHECKING:
    from oslo_config import cfg


def load(conf: cfg.ConfigOpts, node: str) -> PowerDriver:
    """Return the driver for a node's BMC, as ``[power]`` says.

    :raises ConfigError: the node has no BMC there, or the password file cannot be used.
    :raises PluginError: the driver cannot be loaded.
    """
    driver: PowerDriver = plugins.build(GROUP, conf.power.driver, bmc_of(conf, node), api=PowerDriver.api)
    return driver


def bmc_of(conf: cfg.ConfigOpts, node: str) -> Bmc:
    """Return where a node's BMC is and how to talk to it.

    :raises ConfigError: the node has none, or the password file cannot be used.
    """
    power = conf.power
    address = (power.bmc or {}).get(node)
    if not address:
        raise ConfigError(f'[power] bmc names no BMC for {node}; add {node}:<URI of its system>')
    password = secrets.read(power.password_file, '[power] password_file') if power.password_file else None
    return Bmc(node, address, power.user or None, password, power.timeout, power.verify, power.poll)
