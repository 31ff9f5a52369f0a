"""What a lab is made of: its folder, its addresses, its nodes. Everything is in ``<folder>/lab.json``."""

from __future__ import annotations

import dataclasses
import json
import random
import socket
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovca.exceptions import OvcaError
from ovca.files import write_json

MARKER = '.ovca-lab'
VICES = ('off_delay', 'stuck_on', 'unreachable', 'repeat_network_boot')
"""What may be wrong with a BMC; see :mod:`ovca.lab.bmc`."""

STATUS_PORT, BOOT_PORT, TLS_PORT, BMC_PORT, WWW_PORT = 6640, 6641, 6642, 8000, 8080
DATABASE_CABLE_PORT = 5432
BMC_USER = 'admin'


class LabError(OvcaError):
    """Something in the lab is not as it should be."""


@dataclass(frozen=True)
class NodeSpec:
    """One node: its addresses, and where its parts are."""

    name: str
    peer: str
    mac: str
    uuid: str
    folder: Path
    address: str
    """Where its service listens."""
    bmc: str
    """Where its BMC listens."""
    cables: str
    """Where its forwarders listen: the address by which it reaches everything else."""

    @property
    def root(self) -> Path:
        """Its disk."""
        return self.folder / 'root'

    @property
    def hardware(self) -> Path:
        """What survives a wipe and is no disk: pid files, the boot device, the reset button."""
        return self.folder / 'hw'

    @property
    def network(self) -> Path:
        """Its network cards, a folder each."""
        return self.hardware / 'net'

    @property
    def log(self) -> Path:
        return self.folder / 'machine.log'

    @property
    def vices(self) -> Path:
        return self.folder / 'bmc.json'

    @property
    def boot_id(self) -> Path:
        return self.folder / 'run' / 'boot_id'

    @property
    def pid(self) -> Path:
        """The machine's process, while it has power."""
        return self.hardware / 'machine.pid'

    @property
    def service_pid(self) -> Path:
        return self.hardware / 'service.pid'

    @property
    def boot_device(self) -> Path:
        return self.hardware / 'boot.json'

    @property
    def system(self) -> str:
        """The Redfish path of its system."""
        return f'/redfish/v1/Systems/{self.uuid}'


@dataclass(frozen=True)
class LabSpec:
    """A lab as written in ``lab.json``."""

    folder: Path
    prefix: str
    """The first three numbers of all its addresses."""
    python: str
    """The host's interpreter; all else comes from a node's disk."""
    database: str
    """The database's URL as the host reaches it."""
    bmc_password: str
    version: str
    """What the factory put on the nodes."""
    nodes: tuple[NodeSpec, ...]

    @property
    def virtual_ip(self) -> str:
        return f'{self.prefix}.1'

    @property
    def www(self) -> str:
        """The address of the image server."""
        return f'{self.prefix}.3'

    @property
    def shared(self) -> Path:
        return self.folder / 'shared'

    @property
    def run(self) -> Path:
        """Pid files of the lab's own processes."""
        return self.folder / 'run'

    def node(self, name: str) -> NodeSpec:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f'there is no node {name}; this lab has {", ".join(n.name for n in self.nodes)}')

    def with_node(self, node: NodeSpec) -> LabSpec:
        """The lab with this node in the place of the one of its name."""
        return dataclasses.replace(self, nodes=tuple(node if each.name == node.name else each for each in self.nodes))

    def save(self) -> None:
        data = dataclasses.asdict(self)
        del data['folder']
        for node in data['nodes']:
            del node['folder']
        write_json(self.folder / 'lab.json', data, mode=0o600)


def read_json(path: Path) -> dict[str, Any]:
    """Read a small file that may not be there (then it is empty)."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return data if isinstance(data, dict) else {}


def load(folder: Path) -> LabSpec:
    """Read the lab of a folder. :raises LabError: there is none."""
    folder = folder.resolve()
    try:
        data: dict[str, Any] = json.loads((folder / 'lab.json').read_text())
    except (OSError, ValueError) as exc:
        raise LabError(f'{folder} holds no lab ({exc}); make one: ovca-lab --folder {folder} start') from exc
    nodes = tuple(NodeSpec(**node, folder=folder / 'nodes' / node['name']) for node in data.pop('nodes'))
    return LabSpec(folder=folder, nodes=nodes, **data)


def new(folder: Path, *, database: str, version: str, prefix: str | None = None) -> LabSpec:
    """Describe a new lab with two nodes; nothing is written."""
    folder = folder.resolve()
    prefix = prefix or free_prefix()
    names = ('mn1', 'mn2')
    nodes = tuple(
        NodeSpec(
            name=name,
            peer=names[1 - i],
            mac=_mac(i, random.randrange(256)),
            uuid=str(uuid.uuid4()),
            folder=folder / 'nodes' / name,
            address=f'{prefix}.{11 + i}',
            bmc=f'{prefix}.{21 + i}',
            cables=f'{prefix}.{31 + i}',
        )
        for i, name in enumerate(names)
    )
    return LabSpec(
        folder=folder,
        prefix=prefix,
        python=sys.executable,
        database=database,
        bmc_password=uuid.uuid4().hex,
        version=version,
        nodes=nodes,
    )


def another_machine(node: NodeSpec) -> NodeSpec:
    """The same place with another machine in it: another card, another system behind the BMC."""
    place, number = (int(part, 16) for part in node.mac.split(':')[4:])
    return dataclasses.replace(node, mac=_mac(place, (number + random.randrange(1, 256)) % 256), uuid=str(uuid.uuid4()))


def _mac(place: int, number: int) -> str:
    return f'52:54:00:00:{place:02x}:{number:02x}'


def free_prefix(tries: int = 50) -> str:
    """A 127.A.B that nobody uses, so that many labs live side by side with the same port numbers."""
    for _ in range(tries):
        prefix = f'127.{random.randrange(1, 255)}.{random.randrange(0, 255)}'
        if all(_free(f'{prefix}.{host}', BMC_PORT) for host in (1, 21, 22)):
            return prefix
    raise LabError('no free addresses below 127.0.0.0/8; this machine does not let programs bind them')


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
