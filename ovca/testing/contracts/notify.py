"""The contract of ``ovca.notify``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from ovca import notify
from ovca.notify.base import Message, Notifier, NotifyError
from ovca.testing.appliance import Config
from ovca.testing.contracts.base import DriverContract, assert_no_secret, assert_sentence, raised

__all__ = ['NotifyContract']

AT = dt.datetime(2026, 3, 1, 2, 3, 4, tzinfo=dt.UTC)
ALARM = Message('alarm', AT, 'mn2', 'mn2 does not come back; look at its console', 7, 'INSTALL_1')
ENDED = Message('ended', AT, 'mn1', 'update 7 to 1.1.0 is DONE', 7, 'DONE')
TRIED = Message('test', AT, 'mn1', 'this is a test "with quotes", umlauts (ä) and 100 %')


class NotifyContract(DriverContract):
    """A notifier: :meth:`received` is what came out at its other end, :meth:`make_broken` one that reaches nobody.

    For a driver that appends each message to the file that its option names::

        class TestRackLog(contracts.NotifyContract):
            name = 'rack-log'

            @pytest.fixture(autouse=True)
            def _log(self, tmp_path):
                self.log = tmp_path / 'rack.log'

            def make_driver(self):
                self.config.set('rack', log=self.log)
                return super().make_driver()

            def make_broken(self):
                self.config.set('rack', log='/no/such/folder/rack.log')
                return super().make_driver()

            def received(self):
                return self.log.read_text().splitlines() if self.log.exists() else []
    """

    group = 'ovca.notify'
    base = Notifier
    can_fail = True
    """Whether there is anything that could refuse a message; the log, say, takes everything."""
    secrets: Sequence[str] = ()
    """Passwords and tokens that the drivers of the tests are configured with."""

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> None:
        self.config = Config(tmp_path / 'appliance')

    def make_driver(self) -> Notifier:
        """Return the driver, as the service makes it; ``self.config`` is its configuration."""
        return notify.load_one(self.config.load(), self.name)

    def make_broken(self) -> Notifier:
        """Return a driver that cannot hand anything on: its receiver is not there, or refuses."""
        self.missing('make_broken()')

    def received(self) -> Sequence[str]:
        """Return what the receiver has got so far, one text for each message."""
        self.missing('received()')

    def make(self) -> Notifier:
        """One driver."""
        return self.make_driver()

    def test_nothing_is_sent_before_there_is_a_message(self) -> None:
        """Making a driver tells nobody anything."""
        self.make_driver()
        assert not list(self.received()), f'without a message, {list(self.received())} was sent'

    def test_a_message_arrives_with_what_it_says(self) -> None:
        """When ``send()`` has returned, text, node and state are at the receiver, whatever kind of message it is."""
        driver = self.make_driver()
        for number, message in enumerate((ALARM, ENDED, TRIED), 1):
            driver.send(message)
            got = list(self.received())
            assert len(got) == number, f'{number} messages were sent, and {len(got)} arrived: {got}'
            for fact in (message.node, message.state or '', *_phrases(message.text)):
                assert fact in got[-1], f'{fact!r} is missing in what arrived: {got[-1]}'

    def test_a_repeated_message_is_handed_on_again(self) -> None:
        """After an error or a restart a message comes again; it is not swallowed and is no error."""
        self.make_driver().send(ALARM)

        self.make_driver().send(ALARM)

        got = list(self.received())
        assert len(got) == 2, f'a message was sent twice, and arrived {len(got)} times'
        for fact in (ALARM.node, *_phrases(ALARM.text)):
            assert fact in got[1], f'{fact!r} is missing in the repeated message: {got[1]}'

    def test_a_message_that_is_not_taken_is_an_error(self) -> None:
        """``send()`` returns only when the message was taken: else it would be lost, and nobody would know."""
        if not self.can_fail:
            return
        driver = self.make_broken()
        for message in (ALARM, TRIED):
            text = str(raised(partial(driver.send, message), NotifyError, 'a message that nobody took'))
            assert_sentence(text, 'the error')
            assert driver.name in text, f'the error does not name the driver {driver.name}: {text}'
            assert_no_secret(text, list(self.secrets), 'the error')


def _phrases(text: str) -> list[str]:
    """The words of a text that every encoding leaves as they are."""
    return [word for word in text.split() if word.isascii() and word.replace('.', '').isalnum()]
