"""Power control of machines by their BMCs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovca import plugins
from ovca.exceptions import ConfigError
from ovca.power.base import Bmc, PowerDriver

if TYPE_CHECKING:
    from oslo_config import cfg

GROUP = 'ovca.power'


def load(conf: cfg.ConfigOpts, node: str) -> PowerDriver:
    """Return the driver for a node's BMC, as ``[power]`` says.

    :raises ConfigError: the node has no BMC there, or the password file cannot be read.
    :raises PluginError: the driver cannot be loaded.
    """
    address = (conf.power.bmc or {}).get(node)
    if not address:
        raise ConfigError(f'[power] bmc names no BMC for {node}; add {node}:<URI of its system>')
    password = None
    if conf.power.password_file:
        try:
            password = Path(conf.power.password_file).read_text(encoding='utf-8').strip()
        except (OSError, UnicodeError) as exc:
            raise ConfigError(
                f'[power] password_file {conf.power.password_file} cannot be read: {exc}'
            ) from exc
    bmc = Bmc(
        node, address, conf.power.user, password, conf.power.timeout, conf.power.verify, conf.power.poll
    )
    driver: PowerDriver = plugins.load_one(GROUP, conf.power.driver, api=PowerDriver.api)(bmc)
    return driver
