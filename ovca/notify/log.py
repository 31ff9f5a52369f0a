"""Messages into the service's log, for appliances whose logs are watched."""

from __future__ import annotations

import json
import logging

from ovca.notify.base import Message, Notifier

LOG = logging.getLogger(__name__)


class LogNotifier(Notifier):
    """One line for each message, by the logger ``ovca.notify.log``: the word ``NOTICE``, then the message as JSON."""

    def _send(self, message: Message) -> None:
        level = logging.ERROR if message.kind == 'alarm' else logging.INFO
        LOG.log(level, 'NOTICE %s', json.dumps(message.as_dict()))
