"""A node's BMC: sushy-emulator with a systems driver that switches one of our machines.

The Redfish it speaks is not ours, so that our driver is not tested against our own reading of the standard.
It has the vices of real BMCs, read from the node's ``bmc.json`` at each request:

``off_delay``
    seconds between the order to power off and the power going away
``stuck_on``
    orders to power off are accepted, and nothing happens
``unreachable``
    every connection is closed without an answer
``repeat_network_boot``
    every boot is a network boot

Run as ``python -m ovca.lab.bmc <lab folder> <node>``.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sushy_tools import error
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver
from werkzeug.serving import make_server

from ovca.files import write_json
from ovca.lab import spec
from ovca.lab.hardware import PowerSupply

DEVICES = {'Pxe': 'network', 'Hdd': 'disk', 'Cd': 'media'}


class MachineDriver(AbstractSystemsDriver):  # type: ignore[misc]
    """What the emulator asks of a system, for the one machine of this BMC."""

    def __init__(self, supply: PowerSupply) -> None:
        super().__init__()
        self.supply, self.node = supply, supply.node
        self._lock = threading.Lock()
        self._off_at: float | None = None

    @property
    def driver(self) -> str:
        return '<ovca process lab>'

    @property
    def systems(self) -> list[str]:
        return [self.node.uuid]

    def uuid(self, identity: str) -> str:
        if identity not in (self.node.uuid, self.node.name):
            raise error.NotFound(f'there is no system {identity} here')
        return self.node.uuid

    def name(self, identity: str) -> str:
        self.uuid(identity)
        return self.node.name

    def get_power_state(self, identity: str) -> str:
        self.uuid(identity)
        return 'Off' if self.supply.machine() is None else 'On'

    def set_power_state(self, identity: str, state: str) -> None:
        self.uuid(identity)
        vices = self._vices()
        with self._lock:
            if state in ('On', 'ForceOn'):
                self.supply.on()
            elif vices.get('stuck_on'):
                return
            elif state == 'ForceOff':
                self._off(float(vices.get('off_delay') or 0))
            elif state in ('ForceRestart', 'GracefulRestart'):
                self.supply.off()
                self.supply.on()
            elif state in ('GracefulShutdown', 'PushPowerButton'):
                self.supply.press_button()
            else:
                raise error.NotSupportedError(f'{state} is not supported')

    def _off(self, delay: float) -> None:
        if not delay:
            self.supply.off()
            return
        if self._off_at is None:
            self._off_at = time.monotonic() + delay
            threading.Timer(delay, self._off_now).start()

    def _off_now(self) -> None:
        with self._lock:
            self._off_at = None
            self.supply.off()

    def get_boot_device(self, identity: str) -> str:
        self.uuid(identity)
        names = {ours: theirs for theirs, ours in DEVICES.items()}
        return names.get(self.supply.next_boot(), 'Hdd')

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        self.uuid(identity)
        if boot_source not in DEVICES:
            raise error.BadRequest(f'cannot boot from {boot_source}')
        self.supply.set_next_boot(DEVICES[boot_source])

    def get_boot_mode(self, identity: str) -> str:
        return 'UEFI'

    def set_boot_mode(self, identity: str, boot_mode: str) -> None:
        pass

    def get_nics(self, identity: str) -> list[dict[str, str]]:
        return [{'id': self.node.mac, 'mac': self.node.mac}]

    def get_boot_image(self, identity: str, device: str) -> tuple[str | None, bool, bool]:
        image = spec.read_json(self.node.hardware / 'media.json').get(device)
        return image, True, bool(image)

    def set_boot_image(
        self, identity: str, device: str, boot_image: str | None = None, write_protected: bool = True
    ) -> None:
        write_json(self.node.hardware / 'media.json', {device: boot_image})

    def _vices(self) -> dict[str, Any]:
        return spec.read_json(self.node.vices)


class Unreachable:
    """WSGI middleware: while the vice is set, connections are closed without an answer."""

    def __init__(self, app: Callable[..., Iterable[bytes]], vices: Path) -> None:
        self.app, self.vices = app, vices

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if spec.read_json(self.vices).get('unreachable'):
            environ['werkzeug.socket'].close()
            raise ConnectionAbortedError('this BMC is unreachable')
        return self.app(environ, start_response)


def application(lab: spec.LabSpec, node: spec.NodeSpec) -> Callable[..., Iterable[bytes]]:
    """The emulator as a WSGI application that switches the machine of ``node``."""
    driver = MachineDriver(PowerSupply(lab, node))
    emulator.Application.systems = property(lambda _: driver)
    state = node.hardware / 'bmc'
    state.mkdir(parents=True, exist_ok=True)
    accounts = state / 'accounts'
    accounts.write_text(f'{spec.BMC_USER}:{_hashed(lab.bmc_password)}\n')
    emulator.app.configure(
        extra_config={'SUSHY_EMULATOR_STATE_DIR': str(state), 'SUSHY_EMULATOR_AUTH_FILE': str(accounts)}
    )
    app: Callable[..., Iterable[bytes]] = emulator.app
    return Unreachable(app, node.vices)


def _hashed(password: str) -> str:
    import bcrypt

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()


def main(argv: Sequence[str] | None = None) -> int:
    folder, name = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(name)s %(message)s')
    lab = spec.load(Path(folder))
    node = lab.node(name)
    server = make_server(node.bmc, spec.BMC_PORT, application(lab, node), threaded=True)
    server.serve_forever()
    return 0


if __name__ == '__main__':
    sys.exit(main())
