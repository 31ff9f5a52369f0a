"""The contract of the notifiers finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = """
from ovca.notify.base import Notifier

INBOX = []


class Good(Notifier):
    broken = False

    def _send(self, message):
        if self.broken:
            raise ConnectionRefusedError('the pager does not answer')
        INBOX.append(str(message.as_dict()))


class Greets(Good):
    def __init__(self, conf):
        super().__init__(conf)
        INBOX.append('hello')


class Shortens(Good):
    def _send(self, message):
        super()._send(message)
        INBOX[-1] = INBOX[-1][:60]


class Picks(Good):
    def _send(self, message):
        if message.kind == 'alarm':
            super()._send(message)


SEEN = set()


class Once(Good):
    def _send(self, message):
        if message not in SEEN:
            super()._send(message)
        SEEN.add(message)


class Swallows(Good):
    def _send(self, message):
        if not self.broken:
            super()._send(message)


class Talks(Good):
    def _send(self, message):
        if self.broken:
            raise ConnectionRefusedError('https://pager/?token=geheim does not answer')
        super()._send(message)
"""
NAMES = {name.lower(): name for name in ('Good', 'Greets', 'Shortens', 'Picks', 'Once', 'Swallows', 'Talks')}
TESTS = """
class Base(contracts.NotifyContract):
    secrets = ['geheim']

    @pytest.fixture(autouse=True)
    def _empty(self):
        wrong.INBOX.clear()
        wrong.SEEN.clear()

    def make_broken(self):
        driver = self.make_driver()
        driver.broken = True
        return driver

    def received(self):
        return wrong.INBOX

"""
RIGHT = {
    'greets': 'test_nothing_is_sent_before_there_is_a_message',
    'shortens': 'test_a_message_arrives_with_what_it_says',
    'picks': 'test_a_message_arrives_with_what_it_says',
    'once': 'test_a_repeated_message_is_handed_on_again',
    'swallows': 'test_a_message_that_is_not_taken_is_an_error',
    'talks': 'test_a_message_that_is_not_taken_is_an_error',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(f'class Test_{name}(Base):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.notify': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}
