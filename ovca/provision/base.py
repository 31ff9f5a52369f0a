"""The interface of a provision driver."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ovca import plugins
from ovca.exceptions import ProvisionError
from ovca.provision.authority import Order

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['Order', 'ProvisionDriver', 'words']

GROUP = 'ovca.provision'


class ProvisionDriver(ABC):
    """Writes what a machine's firmware is given when it boots from the network; entry-point group ``ovca.provision``.

    A driver writes two texts. The entry point's name is what an operator writes into ``[provision] driver``.

    *When it is called.* ovcad imports the driver at its start, on both nodes; the boot service builds it whenever it
    starts on the acting master. ``__init__`` must not connect anywhere. Then a method is called for each machine that
    asks the boot service: :meth:`install_script` when an install is armed for it, :meth:`local_script` in every other
    case, also for machines that nobody knows.

    *From which thread.* From the boot service's, several at a time: keep no state.

    *How long it may take.* Milliseconds; a machine's firmware waits for the answer, and gives up after a few seconds.

    *What errors mean.* A ``ProvisionError`` gives the machine the local script, so that it boots its disk, and is
    logged; the install is tried again at its next boot. Never raise from :meth:`local_script`.

    *What must be idempotent.* Both: a machine may ask twice, and the answer follows from the order alone. The script
    does not decide anything: the installer that it starts asks for the grant itself, and without one wipes nothing.
    Every path through the script that does not reach the installer must end at the local disk.

    Facts of the order go into the script as :func:`words` gives them: a fact that is not a single word is refused, so
    that none can carry further commands. Give the installer all of them, by their names.

    .. code-block:: python

        class Pxelinux(ProvisionDriver):
            api = 1

            def install_script(self, order: Order) -> str:
                facts = ' '.join(f'ovca.{name}={value}' for name, value in words(order).items())
                base = f'{order.boot_url}/image/{order.version}/boot'
                return f'DEFAULT ovca\\nLABEL ovca\\n KERNEL {base}/vmlinuz\\n APPEND initrd={base}/initrd {facts}\\n'

            def local_script(self) -> str:
                return 'DEFAULT local\\nLABEL local\\n LOCALBOOT 0\\n'
    """

    api: ClassVar[int] = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @abstractmethod
    def install_script(self, order: Order) -> str:
        """Return the script that starts the installer with this order."""

    @abstractmethod
    def local_script(self) -> str:
        """Return the script that boots the local disk."""


def words(order: Order) -> dict[str, str]:
    """Return the order's facts by name, each a single word: no script can be told more by a fact than it was meant to.

    :raises ProvisionError: a fact is empty, or holds a space or something unprintable.
    """
    facts = {field.name: str(getattr(order, field.name)) for field in dataclasses.fields(order)}
    for name, value in sorted(facts.items()):
        if not value.isprintable() or len(value.split()) != 1 or value.strip() != value:
            raise ProvisionError(
                f'{order.node}: {name} of its install order is not a single word; see [provision]', id='install-order'
            )
    return dict(sorted(facts.items()))


def load(conf: cfg.ConfigOpts) -> ProvisionDriver:
    """Return the driver that ``[provision] driver`` names. :raises PluginError: it cannot be loaded."""
    driver: ProvisionDriver = plugins.build(GROUP, conf.provision.driver, conf, api=ProvisionDriver.api)
    return driver
