"""A lab as an object: what tests, ``ovca-lab`` and the demonstration hold in their hands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.files import write_json
from ovca.image.version import ImageVersion
from ovca.lab import config, factory, facts, hardware, images, network, processes, spec
from ovca.lab.spec import LabError, LabSpec, NodeSpec

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.db.engine import Database
    from ovca.power.base import PowerDriver

__all__ = ['Lab', 'LabError', 'NodeStatus']

PATIENCE = 60.0
"""Seconds for what takes a second or two on a machine that is not busy."""


@dataclass(frozen=True)
class NodeStatus:
    """What the lab knows of a node without asking ovca."""

    node: str
    power: str
    service: str
    version: str
    boot_id: str
    address: str
    bmc: str
    cut: tuple[str, ...]
    vices: Mapping[str, Any]


class Lab:
    """One lab; everything of it is in its folder, so any process may open it again."""

    def __init__(self, lab: LabSpec) -> None:
        self.spec, self.folder = lab, lab.folder

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        database: str | None = None,
        version: str = '1.0.0',
        overrides: config.Overrides | None = None,
        plugins: Sequence[images.Plugin] = (),
        cache: Path | None = None,
        stock: Path | None = None,
    ) -> Lab:
        """Make a lab in a folder that has none, with ``version`` on both nodes; nothing runs yet.

        ``database`` is the URL of an empty PostgreSQL database; without it SQLite in the lab's folder. ``overrides``
        change options of the nodes, ``{'remaster': {'soak': 1}}``. ``plugins`` are on the nodes from the first day.
        ``stock`` is a folder with keys and images made once for many labs by ``ovca.lab.factory.make_stock``.

        :raises LabError: the folder holds a lab, or something else. :raises ImageError: the version is none.
        """
        folder = folder.resolve()
        url = f'sqlite:///{folder / "db" / "ovca.sqlite"}' if database is None else database
        network.database_address(url)
        ImageVersion(version)
        try:
            if folder.exists() and any(folder.iterdir()):
                raise LabError(f'{folder} is not empty; choose another folder, or remove it when its lab is stopped')
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise LabError(f'no lab can be made in {folder}: {exc.strerror}; choose another folder') from exc
        lab = spec.new(folder, database=url, version=version)
        try:
            factory.build(lab, overrides=overrides, plugins=plugins, cache=cache, stock=stock)
        except BaseException:
            (folder / 'lab.json').unlink(missing_ok=True)  # what is half made must not be started
            raise
        return cls(lab)

    @classmethod
    def open(cls, folder: Path) -> Lab:
        """Open a lab that was made before. :raises LabError: there is none."""
        return cls(spec.load(folder))

    def node(self, name: str) -> NodeSpec:
        return self.spec.node(name)

    # The whole lab.

    def start(self, *, owner: int | None = None, power: bool = True) -> None:
        """Start network and BMCs, and switch the nodes on; what was started ends when that fails.

        With an ``owner``, the lab stops when that process ends, however it ends.
        """
        try:
            self._start(owner)
            if power:
                self._switch_on()
        except BaseException:
            self.stop()
            raise

    def _start(self, owner: int | None) -> None:
        self._daemon('network', ['ovca.lab.network', str(self.folder), *([str(owner)] if owner else [])])
        self._await('network', self._network_answers)
        for node in self.spec.nodes:
            self._daemon(f'bmc-{node.name}', ['ovca.lab.bmc', str(self.folder), node.name])
        for node in self.spec.nodes:
            self._await(f'bmc-{node.name}', partial(_listens, node.bmc, spec.BMC_PORT))

    def _switch_on(self) -> None:
        """The node that was master first; a lease that nobody renews is claimed by whoever comes first."""
        with facts.of(self.spec) as seen:
            began = seen.now()
            first = self.node(seen.holder() or self.spec.nodes[0].name)
            self.power_on(first.name)
            # A node that claims the lease and knows nothing of the other makes sure that it is off: let it do so now.
            seen.wait(lambda f: f.master(began) is not None, PATIENCE, f'{first.name} acts as master')
        self.power_on(first.peer)

    def stop(self) -> None:
        """Stop everything of this lab, and only that. What is in the folder stays; a start goes on from there."""
        for node in self.spec.nodes:
            # First the BMCs, which could switch a machine on again.
            self._end(f'bmc-{node.name}')
        for node in self.spec.nodes:
            hardware.PowerSupply(self.spec, node).off()
        self._end('www')
        self._end('network')

    def master(self) -> str | None:
        """The node that acts as master, as the database says."""
        with facts.of(self.spec) as seen:
            return seen.master()

    def wait_for_master(self, patience: float = PATIENCE) -> str:
        """Wait until a node acts as master; return its name. :raises LabError: none does."""
        with facts.of(self.spec) as seen:
            seen.wait(lambda f: f.master() is not None, patience, 'a node acts as master')
            return seen.master() or ''

    def wait_until_healthy(self, patience: float = PATIENCE) -> str:
        """Wait until a node acts and both are healthy and ready; return the master. :raises LabError: it is not so."""
        with facts.of(self.spec) as seen:
            seen.wait(lambda f: f.healthy() and f.master() is not None, patience, 'both nodes are healthy and ready')
            return seen.master() or ''

    @property
    def running(self) -> bool:
        return self._process('network') is not None

    def status(self) -> list[NodeStatus]:
        cut = network.order(self.spec, 'list') if self.running else []
        return [self._status(node, [cable for name, cable in cut if name == node.name]) for node in self.spec.nodes]

    def _status(self, node: NodeSpec, cut: Sequence[str]) -> NodeStatus:
        on = hardware.PowerSupply(self.spec, node).machine() is not None
        service = processes.Process.read(node.service_pid)
        installed = spec.read_json(node.root / 'etc/ovca/installed.json')
        return NodeStatus(
            node=node.name,
            power='on' if on else 'off',
            service='running' if service else 'stopped',
            version=str(installed.get('version', '')),
            boot_id=node.boot_id.read_text().strip() if on and node.boot_id.exists() else '',
            address=node.address,
            bmc=f'http://{node.bmc}:{spec.BMC_PORT}{node.system}',
            cut=tuple(cut),
            vices=spec.read_json(node.vices),
        )

    # One node.

    def run(
        self, node: str, argv: Sequence[str], *, timeout: float = 120, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run ``ovca`` as on a node, with the software that is on its disk; output is text and captured."""
        command, env = self.command(node, argv)
        options = {'capture_output': True, 'text': True, 'stdin': subprocess.DEVNULL, **options}
        done: subprocess.CompletedProcess[str] = subprocess.run(command, env=env, cwd='/', timeout=timeout, **options)
        if check and done.returncode:
            raise LabError(f'{node}: ovca {" ".join(argv)} ended with {done.returncode}: {done.stderr or done.stdout}')
        return done

    def popen(self, node: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Like :meth:`run`, and return while it runs."""
        command, env = self.command(node, argv)
        return subprocess.Popen(command, env=env, cwd='/', **options)

    def command(self, node: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment of ``ovca`` as on a node.

        :raises LabError: it has no power, or no software on its disk.
        """
        found = self.node(node)
        if hardware.PowerSupply(self.spec, found).machine() is None:
            raise LabError(f'{node} has no power; switch it on: ovca-lab power-on {node}')
        if not (found.root / 'etc/ovca/installed.json').exists():
            raise LabError(f'no installation on {node} has come to its end; wait for it, or see: ovca-lab log {node}')
        return hardware.command(self.spec, found, argv)

    def conf(self, node: str) -> cfg.ConfigOpts:
        """A node's configuration as it is on its disk."""
        from ovca import conf as configuration

        return configuration.load(str(self.node(node).root / 'etc/ovca.conf'))

    def database(self) -> Database:
        """The database, past all cables; dispose it after use."""
        return factory.open_database(self.spec)

    def power(self, node: str) -> PowerDriver:
        """A power driver that talks to the node's BMC directly."""
        from ovca.power.base import Bmc
        from ovca.power.redfish import RedfishPower

        found = self.node(node)
        address = f'http://{found.bmc}:{spec.BMC_PORT}{found.system}'
        return RedfishPower(Bmc(node, address, spec.BMC_USER, self.spec.bmc_password))

    def power_on(self, node: str) -> None:
        """Switch a node on through its BMC."""
        self.power(node).on()

    def cut_power(self, node: str) -> None:
        """Pull the plug: all of the node's processes die at once, and its BMC sees that it is off."""
        hardware.PowerSupply(self.spec, self.node(node)).off()

    def reset(self, node: str) -> None:
        """Press the reset button."""
        machine = hardware.PowerSupply(self.spec, self.node(node)).machine()
        if machine is None:
            raise LabError(f'{node} has no power; switch it on: ovca-lab power-on {node}')
        machine.kill(signal.SIGHUP)

    def new_machine(self, node: str) -> NodeSpec:
        """Put another machine in a node's place: a blank disk, another card, another BMC; it is off.

        The nodes' configuration still names the old one, as on an appliance.
        """
        self._end(f'bmc-{node}')
        hardware.PowerSupply(self.spec, self.node(node)).off()
        machine = factory.new_machine(self.spec, self.node(node))
        self.spec = self.spec.with_node(machine)
        self.spec.save()
        self._daemon(f'bmc-{node}', ['ovca.lab.bmc', str(self.folder), node])
        self._await(f'bmc-{node}', partial(_listens, machine.bmc, spec.BMC_PORT))
        return machine

    def bmc_as_seen_from(self, node: str, of: str) -> str:
        """The URI by which a node reaches the BMC of a node: through its own cable."""
        return config.bmcs(self.spec, self.node(node))[of]

    def kill_service(self, node: str) -> None:
        """Kill a node's service; the machine starts it again, as systemd would."""
        self._service(node, signal.SIGKILL)

    def pause_service(self, node: str) -> None:
        """Stop a node's service in the middle of whatever it does."""
        self._service(node, signal.SIGSTOP)

    def resume_service(self, node: str) -> None:
        self._service(node, signal.SIGCONT)

    def _service(self, node: str, how: signal.Signals) -> None:
        service = processes.Process.read(self.node(node).service_pid)
        if service is None or not service.kill(how):
            raise LabError(f'no service runs on {node}; see: ovca-lab log {node}')

    # What surrounds the nodes.

    def cut(self, node: str, cable: str = 'all') -> None:
        """Cut a node's cable: its connections drop, and new ones are refused."""
        network.order(self.spec, 'cut', node, cable)

    def silence(self, node: str, cable: str = 'all') -> None:
        """Let a cable swallow everything: its connections stay, new ones are taken, and nothing arrives."""
        network.order(self.spec, 'silence', node, cable)

    def mend(self, node: str, cable: str = 'all') -> None:
        network.order(self.spec, 'mend', node, cable)

    def set_vice(self, node: str, name: str, value: object) -> None:
        """Give a BMC a vice, or take it away (``None`` or ``False``)."""
        if name not in spec.VICES:
            raise LabError(f'a BMC has no vice {name}; there are: {", ".join(spec.VICES)}')
        path = self.node(node).vices
        vices = {**spec.read_json(path), name: value}
        write_json(path, {key: value for key, value in vices.items() if value not in (None, False)})

    def make_image(self, version: str, *, cache: Path | None = None, **options: Any) -> Path:
        """Make a signed image (options: those of :class:`~ovca.lab.images.Recipe`); return the bundle's path.

        :raises ImageError: the version is none.
        """
        ImageVersion(version)
        return factory.make_image(self.spec, images.Recipe(version, **options), cache=cache)

    def serve(self) -> str:
        """Serve the lab's images by HTTP; return the URL of the folder."""
        self._daemon('www', ['ovca.lab.server', str(self.folder / 'www'), self.spec.www, str(spec.WWW_PORT)])
        self._await('www', lambda: _listens(self.spec.www, spec.WWW_PORT))
        return f'http://{self.spec.www}:{spec.WWW_PORT}/'

    # Processes of the lab.

    def _process(self, name: str) -> processes.Process | None:
        return processes.Process.read(self.spec.run / f'{name}.pid')

    def _daemon(self, name: str, words: Sequence[str]) -> None:
        if self._process(name) is not None:
            return
        started = processes.spawn(
            [sys.executable, '-m', *words], log=self.folder / 'log' / f'{name}.log', cwd=self.folder, env=os.environ
        )
        found = processes.Process.of(started.pid)
        if found is not None:
            found.write(self.spec.run / f'{name}.pid')

    def _await(self, name: str, true: Any) -> None:
        if not processes.wait_until(lambda: true() or self._process(name) is None, PATIENCE) or not true():
            raise LabError(f'{name} of the lab {self.folder} did not start; see {self.folder / "log" / name}.log')

    def _end(self, name: str) -> None:
        process = self._process(name)
        if process is not None:
            process.end()
        (self.spec.run / f'{name}.pid').unlink(missing_ok=True)

    def _network_answers(self) -> bool:
        try:
            network.order(self.spec, 'list')
        except LabError:
            return False
        return True


def _listens(address: str, port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
