"""Notifiers: who is told when something needs a person."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ovca.exceptions import OvcaError

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['Message', 'Notifier', 'NotifyError']

GROUP = 'ovca.notify'


class NotifyError(OvcaError):
    """A message could not be handed on."""

    id = 'not-notified'


@dataclass(frozen=True)
class Message:
    """What somebody is told. A message that is sent again is equal to the first in every field."""

    kind: Literal['alarm', 'ended', 'test']
    """``alarm``: somebody has to act. ``ended``: an update ended, and nobody has to. ``test``: it is tried out."""
    at: dt.datetime
    """When it happened, with its zone."""
    node: str
    """The node that it is about, or else the one that noticed it."""
    text: str
    """Whole sentences: what happened, and what to do. No secrets."""
    update_id: int | None = None
    state: str | None = None
    """The state that the update has entered, if it has."""

    def as_dict(self) -> dict[str, Any]:
        """The message as JSON data; the time is ISO 8601 in UTC."""
        return {**asdict(self), 'at': self.at.astimezone(dt.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}


class Notifier(ABC):
    """Hands messages on: to a pager, a chat, a ticket system. Entry-point group ``ovca.notify``.

    A driver writes one method, :meth:`_send`; the base turns every error into a :class:`NotifyError` that names the
    driver. The entry point's name is what an operator writes into ``[notify] drivers``.

    *When it is called.* ovcad builds the driver once, at its start, on both nodes, and only if the configuration names
    it; what is wrong with its options is told there, by a ``ConfigError`` from ``__init__``, which stops ovcad; name
    the option, for the text is shown as it is. Nothing is connected or sent then. :meth:`send` is called on the node
    that acts as master, for each event of kind ``alarm`` in the journal and for each update that ended, in their order;
    and by ``ovca notify-test``.

    *From which thread.* From one at a time, which carries nothing but messages: a slow driver delays neither an update
    nor a take-over, but it does delay the other drivers' messages. Give up by yourself after ``[notify] timeout``
    seconds.

    *What errors mean.* After an error the same message is sent again, a few times, with growing pauses; then it is
    given up. So raise when it is not known that the message was taken. Any exception will do, best an ``OSError`` or a
    :class:`NotifyError` whose text says what to mend; the base puts the driver's name before it, and each text is
    logged once. Never put a password into it.

    *What must be idempotent.* A message comes at least once: it is sent again after an error, a restart or a fail-over.
    A repeated message is equal to the first one in every field, by which a receiver can know it.

    .. code-block:: python

        class Chat(Notifier):
            api = 1

            def __init__(self, conf: cfg.ConfigOpts) -> None:
                super().__init__(conf)
                if not conf.chat.url:
                    raise ConfigError('the notifier chat needs an address; set [chat] url', id='chat-url')

            def _send(self, message: Message) -> None:
                answer = requests.post(self.conf.chat.url, json=message.as_dict(), timeout=self.conf.notify.timeout)
                answer.raise_for_status()
    """

    api: ClassVar[int] = 1

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        self.name = type(self).__name__
        """The entry point's name, once the driver is loaded by it."""

    def send(self, message: Message) -> None:
        """Hand a message on; return when it was taken. :raises NotifyError: that is not known."""
        try:
            self._send(message)
        except NotifyError as exc:
            raise NotifyError(f'notifier {self.name}: {exc}', id=exc.id) from exc
        except Exception as exc:  # whatever the driver's library raises
            cause = f'{type(exc).__name__}: {exc}'.removesuffix(': ')
            raise NotifyError(f'notifier {self.name}: {cause}; see [notify], then try `ovca notify-test`') from exc

    @abstractmethod
    def _send(self, message: Message) -> None:
        """Hand the message on, within ``[notify] timeout`` seconds; any exception means that it was not taken."""
