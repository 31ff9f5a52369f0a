"""The servers of a node, for any bytes that a stranger sends: python -m tests.fuzz.boot [corpus]

The first byte says to which of them: 0 serves boot scripts and images, 1 grants, 2 the status. They are the product's
own, on sockets; grants are asked for without TLS here, as what is looked for lies behind it.
"""

from __future__ import annotations

import atexit
import functools
import logging
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.driver import drive

if TYPE_CHECKING:
    from tests.hostile.besieged import Besieged

ANSWERS = {200, 204, 206, 400, 403, 404, 405, 413, 416}
"""What a stranger may be answered; 5xx is a defect, as nothing else is broken here."""
STATUS = re.compile(rb'HTTP/1\.1 (\d\d\d) ')
LONGEST = 40_000
"""Bytes of an answer to one request; what is published here is short."""
EVERY = 64
"""After so many inputs an honest node is served."""


class Watched(logging.Handler):
    """Notes what the log says that no stranger may cause: an exception, or something that disturbs a terminal."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.bad: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info or record.levelno >= logging.ERROR or not text.isprintable() or len(text) > 1000:
            self.bad.append(f'{text} {record.exc_info}')


class Siege:
    """An appliance with a grant that is armed, and what its log says."""

    def __init__(self, folder: Path) -> None:
        from ovca.provision.tls import self_signed
        from tests.hostile.besieged import Besieged
        from tests.operated import Operated

        (folder / 'prepared').mkdir()
        Operated(folder / 'prepared').close()
        (folder / 'appliance').mkdir()
        self.besieged: Besieged = Besieged(
            folder / 'appliance', self_signed('127.0.0.1'), folder / 'prepared/ovca.sqlite', request=2, stall=5
        )
        self.order = self.besieged.order()
        self.watched = Watched()
        logging.getLogger().addHandler(self.watched)
        self.asked = 0

    def judge(self, data: bytes) -> None:
        """Send an input, and look at what came of it."""
        from tests.hostile.besieged import leaks

        self.asked += 1
        besieged = self.besieged
        server = (besieged.plain, besieged.bare, besieged.status)[data[0] % 3]
        answer = besieged.raw(server, data[1:])
        assert not answer or STATUS.match(answer), f'no HTTP: {answer[:100]!r}'
        codes = {int(code) for code in STATUS.findall(answer)} - {100}
        assert codes <= ANSWERS, f'answered by {codes}'
        assert len(answer) <= LONGEST * max(1, len(STATUS.findall(answer)))
        assert leaks(answer, str(besieged.shared), self.order.boot_token) == []
        assert besieged.wiped() == 0
        bad, self.watched.bad = self.watched.bad, []
        assert bad == [], bad
        if self.asked % EVERY == 0:
            assert besieged.alive(), 'an honest node is not served'


@functools.cache
def siege() -> Siege:
    """The one of this process."""
    folder = tempfile.TemporaryDirectory(prefix='ovca-fuzz-', ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Siege(Path(folder.name))


def check(data: bytes) -> None:
    """Send bytes to a server.

    It answers by HTTP or not at all, by no 5xx, with no secret and nothing endless; nothing is wiped; the log holds no
    exception; and honest nodes are served after it.
    """
    if data:
        siege().judge(data)


if __name__ == '__main__':
    modules = ('ovca.provision.boot', 'ovca.provision.bounded', 'ovca.provision.questions', 'ovca.daemon.status')
    drive(check, *modules, include=('ovca.provision', 'ovca.daemon.status', 'ovca.remaster.grants'))
