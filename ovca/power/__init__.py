"""Power control of machines by their BMCs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovca import plugins
from ovca.exceptions import ConfigError
from ovca.power.base import GROUP, Bmc, PowerDriver

if TYPE_CHECKING:
    from oslo_config import cfg


def load(conf: cfg.ConfigOpts, node: str) -> PowerDriver:
    """Return the driver for a node's BMC, as ``[power]`` says.

    :raises ConfigError: the node has no BMC there, or the password file cannot be read.
    :raises PluginError: the driver cannot be loaded.
    """
    driver: PowerDriver = plugins.build(GROUP, conf.power.driver, bmc_of(conf, node), api=PowerDriver.api)
    return driver


def bmc_of(conf: cfg.ConfigOpts, node: str) -> Bmc:
    """Return where a node's BMC is and how to talk to it.

    :raises ConfigError: the node has none, or the password file cannot be read.
    """
    power = conf.power
    address = (power.bmc or {}).get(node)
    if not address:
        raise ConfigError(f'[power] bmc names no BMC for {node}; add {node}:<URI of its system>')
    password = None
    if power.password_file:
        try:
            password = Path(power.password_file).read_text(encoding='utf-8').strip()
        except (OSError, UnicodeError) as exc:
            raise ConfigError(f'[power] password_file {power.password_file} cannot be read: {exc}') from exc
    return Bmc(node, address, power.user or None, password, power.timeout, power.verify, power.poll)
