"""mn2 as the machine that an update installs: its firmware asks the boot service, its installer for the grant."""

from __future__ import annotations

from ovca.db.models import Node
from ovca.exceptions import GrantRefused
from ovca.power.base import BootDevice
from ovca.provision.authority import GrantAsk, Granted, Order, SiteFile
from ovca.provision.site.state import SiteState, save
from tests.mastered import Master
from tests.operated import NEW

MAC = '52:54:00:00:00:02'
HOST_KEY = SiteFile('etc/ssh/ssh_host_key', 0o600, b'the key that others know it by\n')


def saved(master: Master, node: str = 'mn2') -> None:
    """What an operator has set by hand on a node is on the shared storage."""
    save(SiteState(node, None, '', (), (HOST_KEY,)), master.operated.folder / 'shared')


def asking(order: Order, nonce: str) -> GrantAsk:
    """What an installer with this order asks."""
    return GrantAsk(
        node=order.node,
        update=order.update,
        attempt=order.attempt,
        digest=NEW,
        boot_token=order.boot_token,
        nonce=nonce,
        boot_id='the installer',
    )


class Target:
    """It boots when the master lets it, and by itself; the master's desk is the real one."""

    def __init__(self, master: Master) -> None:
        self.master = master
        self.wipes: list[Granted] = []
        self.nonces: list[str] = []
        self.asked: list[GrantAsk] = []
        self.from_disk = 0
        master.change(Node, 'mn2', mac=MAC)
        saved(master)
        master.machine.on_boot = self.boot

    def boot(self, device: BootDevice) -> None:
        """What becomes of a boot."""
        order = self.master.desk().boot(MAC) if device is BootDevice.NETWORK else None
        if order is None:
            self.from_disk += 1
            return
        nonce = f'{len(self.nonces):032}'
        self.asked.append(asking(order, nonce))
        try:
            self.wipes.append(self.master.desk().consume(self.asked[-1]))
        except GrantRefused:
            self.from_disk += 1
        else:
            self.nonces.append(nonce)

    def fails(self) -> None:
        """The installer gives up."""
        attempt = self.master.entry().attempt
        self.master.desk().failed('mn2', 1, attempt, self.nonces[-1], 'the disk does not take it')
