"""How often the threads of a service look by themselves, from what the last sign of life has seen. Pure.

What wakes a thread is an event: a poke, or a change in the :class:`~ovca.cluster.glance.Glance` that comes with each
sign of life. These are the times after which it looks although nothing has woken it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from ovca.cluster.glance import Glance
from ovca.cluster.nodes import silent_after

if TYPE_CHECKING:
    from oslo_config import cfg

RARELY = 4
"""A quiet pair's threads look by themselves after so many times the lease's ttl."""

SELDOM = 3
"""A quiet pair's health is checked so many times less often."""


class Pace(enum.Enum):
    """What there is to do."""

    BUSY = 'busy'
    """An update is open, a request waits, or nothing is known."""
    CALM = 'calm'
    """Nothing is open, but not all is well: something may change with time alone."""
    QUIET = 'quiet'
    """One node acts, the other could take over, and nobody has asked for anything."""

    @classmethod
    def of(cls, glance: Glance | None, conf: cfg.ConfigOpts) -> Pace:
        """What the last look means; None: it failed."""
        if glance is None or glance.open or glance.request is not None:
            return cls.BUSY
        well = not conf.cluster.peer or glance.well(silent_after(conf))
        return cls.QUIET if well and glance.acting else cls.CALM

    def look(self, conf: cfg.ConfigOpts) -> float:
        """Seconds between two looks of a thread that nothing wakes."""
        cluster = conf.cluster
        if self is Pace.BUSY:
            return float(cluster.poll_interval)
        seldom = max(cluster.poll_interval, cluster.renew_interval)
        return float(seldom if self is Pace.CALM else max(seldom, RARELY * cluster.ttl))

    def beat(self, conf: cfg.ConfigOpts) -> float:
        """Seconds between two signs of life: so many that it does not seem silent, nor too old to act on."""
        if self is Pace.QUIET:
            return silent_after(conf) / 1.5
        return float(conf.remaster.ready_age) / {Pace.BUSY: 4, Pace.CALM: 2.5}[self]

    def check(self, conf: cfg.ConfigOpts) -> float:
        """Seconds between two rounds of health checks."""
        return float(conf.health.interval) * (SELDOM if self is Pace.QUIET else 1)
