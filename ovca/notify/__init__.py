"""Telling people, and the programs that they look at, what needs them: ``[notify]``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from ovca import plugins
from ovca.exceptions import OvcaError
from ovca.notify.base import GROUP, Message, Notifier, NotifyError

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['GROUP', 'Message', 'Notifier', 'NotifyError', 'load', 'load_one', 'test']


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


def test(conf: cfg.ConfigOpts) -> dict[str, str]:
    """Send a test message through each configured driver; return what went wrong by its name, empty where nothing did.

    One that fails, or cannot even be loaded, does not keep the others from being tried.
    """
    node = conf.cluster.node_name
    text = f'This is a test: {node} can tell you what happens to its appliance. Nothing is to be done.'
    message = Message('test', dt.datetime.now(dt.UTC), node, text)
    results = {}
    for name in dict.fromkeys(conf.notify.drivers):
        try:
            load_one(conf, name).send(message)
            results[name] = ''
        except OvcaError as exc:
            results[name] = str(exc)
    return results
