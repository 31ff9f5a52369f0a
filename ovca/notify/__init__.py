"""Telling people, and the programs that they look at, what needs them: ``[notify]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovca import plugins
from ovca.notify.base import GROUP, Message, Notifier, NotifyError

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['GROUP', 'Message', 'Notifier', 'NotifyError', 'load', 'load_one']


def load(conf: cfg.ConfigOpts) -> list[Notifier]:
    """Return the drivers that ``[notify] drivers`` names, each once, in that order.

    :raises PluginError: one of them cannot be loaded.
    :raises ConfigError: an option that one of them needs is missing or wrong.
    """
    return [load_one(conf, name) for name in dict.fromkeys(conf.notify.drivers)]


def load_one(conf: cfg.ConfigOpts, name: str) -> Notifier:
    """Return one driver by its name; the errors are those of :func:`load`."""
    notifier: Notifier = plugins.build(GROUP, name, conf, api=Notifier.api)
    notifier.name = name
    return notifier
