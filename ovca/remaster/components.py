"""Components: what an image brings besides the management nodes' own software, and how it gets into force."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ovca import plugins
from ovca.exceptions import OvcaError

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['Component', 'ComponentError']

GROUP = 'ovca.component'


class ComponentError(OvcaError):
    """A component could not be applied, or its version could not be read."""

    id = 'component-not-applied'


class Component(ABC):
    """Brings one tree of an image into force: storage firmware, compute nodes. Entry-point group ``ovca.component``.

    A driver writes :meth:`applied` and :meth:`apply`. The entry point's name is the component's: ``hmp`` and ``ovm``
    are the trees that an image brings beside ``mgmt``. An operator writes it into ``[remaster] components``; of a tree
    that is not named there, an update says "published, not applied".

    *When it is called.* ovcad builds the component once, at its start, on each node whose configuration names it;
    ``__init__`` must not connect anywhere, and a ``ConfigError`` from it stops ovcad. The rest happens on the acting
    master only, and only after an update is DONE, that is when both nodes run the new image and no update is open:
    :meth:`applied` is asked, and when it does not return the image's version, :meth:`apply` is called with that version
    and the tree's published folder, which is on the shared storage and must not be changed. Then :meth:`applied` is
    asked again. Once it returns the version, the component is left alone until the next image, or the next start of
    ovcad.

    *From which thread.* From one of its own; the components are applied one after the other, in the order of
    ``[remaster] components``.

    *How long it may take.* :meth:`apply` blocks until the version is in force, for hours if need be; it holds up
    neither the protocol nor the nodes' health. :meth:`applied` takes seconds. The process may end at any moment, and
    the node with it.

    *What errors mean.* Raise :exc:`ComponentError` with what is wrong and what to do. It is written into the journal,
    and :meth:`apply` is tried again after a growing pause; the last attempt's failure is an alarm. Any other exception
    counts the same, with its type.

    *What must be idempotent.* :meth:`apply`: after a crash or a fail-over it is called again, on this node or on the
    other one, with the same version, over whatever the first call has left. :meth:`applied` reads the world, not a note
    of this node's own: the nodes were just wiped. It returns None when nothing is installed.

    .. code-block:: python

        class Switch(Component):
            api = 1

            def applied(self) -> str | None:
                return ssh('show version').strip() or None

            def apply(self, version: str, tree: Path) -> None:
                copy(tree / 'firmware.bin')
                if not ssh('install'):
                    raise ComponentError('the switch refuses the firmware; see its log')
                wait_for_the_reboot()
    """

    api: ClassVar[int] = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @abstractmethod
    def applied(self) -> str | None:
        """Return the version in force, or None when there is none. :raises ComponentError: it cannot be read."""

    @abstractmethod
    def apply(self, version: str, tree: Path) -> None:
        """Bring ``version`` into force from ``tree``; return when it is. :raises ComponentError: it is not."""


def load(conf: cfg.ConfigOpts) -> dict[str, Component]:
    """Return the components that ``[remaster] components`` names, by name and in that order.

    :raises PluginError: one of them cannot be loaded.
    :raises ConfigError: an option that one of them needs is missing or wrong.
    """
    names = dict.fromkeys(conf.remaster.components)
    return {name: plugins.build(GROUP, name, conf, api=Component.api) for name in names}
