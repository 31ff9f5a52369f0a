"""Power control of machines by their BMCs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovca import plugins
from ovca.conf import secrets
from ovca.exceptions import ConfigError
from ovca.power.base import GROUP, Bmc, PowerDriver

if TYPE_CHECKING:
    from oslo_config import cfg


def load(conf: cfg.ConfigOpts, node: str, fallback: str | None = None) -> PowerDriver:
    """Return the driver for a node's BMC, as ``[power]`` says; ``fallback`` is its address if ``[power]`` names none.

    :raises ConfigError: the node has no BMC, or the password file cannot be used.
    :raises PluginError: the driver cannot be loaded.
    """
    bmc = bmc_of(conf, node, fallback)
    driver: PowerDriver = plugins.build(GROUP, conf.power.driver, bmc, api=PowerDriver.api)
    return driver


def bmc_of(conf: cfg.ConfigOpts, node: str, fallback: str | None = None) -> Bmc:
    """Return where a node's BMC is and how to talk to it.

    :raises ConfigError: the node has none, or the password file cannot be used.
    """
    power = conf.power
    address = (power.bmc or {}).get(node) or fallback
    if not address:
        raise ConfigError(
            f'there is no BMC for {node}; add {node}:<URI of its system> to [power] bmc, or set it with '
            f'`ovca node-set {node} --bmc <uri>`',
            id='no-bmc',
        )
    password = secrets.read(power.password_file, '[power] password_file') if power.password_file else None
    return Bmc(node, address, power.user or None, password, power.timeout, power.verify, power.poll)
