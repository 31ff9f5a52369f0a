"""The way from a machine to the boot service: what is asked may arrive late or twice, and what is answered be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ovca.exceptions import OvcaError
from tests.simulation.scheduler import Task

if TYPE_CHECKING:
    from tests.simulation.appliance import Appliance
    from tests.simulation.node import Boot, Running

T = TypeVar('T')
ANSWER = 2.0
"""Seconds that somebody waits for an answer."""
LATE = 3.0
"""Seconds, at most, after which a question arrives a second time."""


class Question:
    """One question, and what is heard of its answer."""

    def __init__(self, appliance: Appliance, asker: Task, question: Callable[[Boot], Any]) -> None:
        self.appliance, self.asker, self.question = appliance, asker, question
        self.lost = False
        self.box: list[tuple[bool, Any]] = []
        """The first answer that is heard, and whether it is a good one."""

    def arrive(self, running: Running, boot: Boot, delay: float) -> None:
        """Let it arrive at a service, which answers in a thread of its own."""

        def handle() -> None:
            try:
                answer = (True, self.question(boot))
            except OvcaError as exc:
                answer = (False, OSError(str(exc)))
            if not self.lost and not self.box:
                self.box.append(answer)
                self.appliance.scheduler.hasten(self.asker)

        self.appliance.scheduler.start(running.process, 'request', handle, delay)


def ask_boot_service(appliance: Appliance, label: str, question: Callable[[Boot], T]) -> T:
    """Ask whoever has the appliance's address. :raises OSError: there is no answer."""
    appliance.point(label)
    asker = appliance.scheduler.current
    assert asker is not None
    asked, rng = Question(appliance, asker, question), appliance.rng
    holder = next((m for m in appliance.machines.values() if m.serves), None)
    running = holder.running if holder is not None else None
    boot = running.serving if running is not None else None
    if running is not None and boot is not None and running.process.alive:
        times = 2 if rng.random() < appliance.schedule.doubled else 1
        asked.lost = rng.random() < appliance.schedule.lost
        for number in range(times):
            asked.arrive(running, boot, 0.0 if number == 0 else rng.uniform(0.0, LATE))
        if times > 1 or asked.lost:
            heard = 'lost' if asked.lost else 'heard'
            appliance.note(f'** the question arrives {times} times, the answer is {heard}')
    appliance.scheduler.sleep(ANSWER, resting=True)
    if not asked.box:
        raise TimeoutError('no answer')
    good, answer = asked.box[0]
    if not good:
        raise answer
    result: T = answer
    return result
