"""A file that is there while this node acts as master, and the health check that looks after it.

``[cluster] roles = virtual-ip, boot-service, hello-banner`` and ``[health] checks = hello-banner``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ovca.cluster.health import HealthCheck
from ovca.cluster.roles import Role, RoleError
from ovca_hello.greetings import greeting

if TYPE_CHECKING:
    from oslo_config import cfg


def path_of(conf: cfg.ConfigOpts) -> Path:
    """Where the banner is."""
    return Path(conf.provision.state_path) / str(conf.hello.banner)


class Banner(Role):
    """Greets on the acting master. The file is the service: it outlives ovcad, so every process can see it."""

    api = 1

    def start(self) -> None:
        path = path_of(self.conf)
        text = greeting(self.conf.cluster.node_name, self.conf.hello.language)
        try:
            path.write_text(f'{text} You are the master.\n', encoding='utf-8')
        except OSError as exc:
            raise RoleError(f'{path} cannot be written: {exc.strerror}; see [hello] banner') from exc

    def stop(self) -> None:
        path = path_of(self.conf)
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise RoleError(f'{path} cannot be removed: {exc.strerror}; remove it by hand') from exc

    def running(self) -> bool:
        return path_of(self.conf).exists()


class BannerFolder(HealthCheck):
    """The banner could be written here, should this node become the master."""

    api = 1

    def check(self) -> str | None:
        folder = path_of(self.context.conf).parent
        if not os.access(folder, os.W_OK):
            return f'{folder} is no folder that can be written; see [hello] banner'
        return None
