"""What the service takes from the machine that it runs on, and from others: handed in, so that it can run elsewhere."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ovca import plugins
from ovca.cluster import health
from ovca.cluster import roles as role_room
from ovca.cluster.clock import boot_id, boottime
from ovca.cluster.health import HealthCheck, HealthContext
from ovca.cluster.nodes import power_of
from ovca.cluster.roles import Role
from ovca.daemon import drivers, neighbour
from ovca.daemon.serving import Turn
from ovca.daemon.site import SiteCare, ask_node
from ovca.db.engine import Database
from ovca.power.base import PowerDriver
from ovca.provision.site import items as site_items
from ovca.remaster import checks
from ovca.remaster.checks.stages import stage_checks

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)


class Worker(Protocol):
    """Work that goes on beside the service's own threads."""

    def is_alive(self) -> bool:
        """Whether it is not done yet."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""


def spawn(name: str, work: Callable[[], None]) -> Worker:
    """Do it in a thread of its own, which ends with the service at the latest."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def load_roles(conf: cfg.ConfigOpts) -> list[Role]:
    """The roles that ``[cluster] roles`` names, in that order. :raises PluginError: one cannot be loaded."""
    return [plugins.build(role_room.GROUP, name, conf, api=Role.api) for name in conf.cluster.roles]


def load_site(conf: cfg.ConfigOpts, database: Database) -> SiteCare:
    """The care for the site settings, with the items that are configured. :raises PluginError: as for roles."""
    return SiteCare(conf, database, site_items.load(conf))


def run_checks(*args: Any, **options: Any) -> list[checks.CheckResult]:
    """See :func:`ovca.remaster.checks.run_all`."""
    return checks.run_all(*args, **options)


def reboot(conf: cfg.ConfigOpts) -> None:
    """Reboot this node, by ``[cluster] reboot_command``."""
    try:
        subprocess.run(shlex.split(conf.cluster.reboot_command), timeout=30, check=True, env=os.environ)
    except (OSError, subprocess.SubprocessError) as exc:
        # The reboot is clean-up only; the lease is gone, and a standby is what this node is now.
        LOG.error('ALARM: [cluster] reboot_command failed: %s', exc)


def wake(url: str) -> None:
    """Let another node's service look at once: a hint only, it looks by itself soon."""
    import requests

    try:
        neighbour.post(url, 'wake', 1)
    except requests.RequestException as exc:
        LOG.debug('the peer was not woken: %s', exc)


@dataclass(frozen=True)
class Surroundings:
    """The clocks, threads, drivers and neighbours of one service; by default the real ones."""

    load_drivers: Callable[[cfg.ConfigOpts], None] = drivers.load_all
    database: Callable[[cfg.ConfigOpts], Database] = Database.from_conf
    power: Callable[[cfg.ConfigOpts, Database, str], PowerDriver] = power_of
    roles: Callable[[cfg.ConfigOpts], list[Role]] = load_roles
    health_checks: Callable[[HealthContext], dict[str, HealthCheck]] = health.load
    site: Callable[[cfg.ConfigOpts, Database], SiteCare] = load_site
    run_checks: Callable[..., list[checks.CheckResult]] = run_checks
    stage_checks: Callable[..., list[checks.CheckResult]] = stage_checks
    clock: Callable[[], float] = boottime
    """Seconds since boot, suspension included."""
    monotonic: Callable[[], float] = time.monotonic
    boot_id: Callable[[], str] = boot_id
    pool: Callable[[int, str], concurrent.futures.Executor] = concurrent.futures.ThreadPoolExecutor
    """Threads for calls that may hang: how many, and their name."""
    turn: Callable[[], Turn] = threading.Lock
    """Makes a lock."""
    spawn: Callable[[str, Callable[[], None]], Worker] = spawn
    reboot: Callable[[cfg.ConfigOpts], None] = reboot
    wake: Callable[[str], None] = wake
    """Wake the service of which this is the URL."""
    save_site: Callable[[cfg.ConfigOpts, Database, str], bool] = ask_node
    """Have another node save its site settings."""
