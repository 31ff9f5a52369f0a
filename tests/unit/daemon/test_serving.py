"""Roles that start and stop together: what a thread does that waited for its turn."""

from __future__ import annotations

import threading
from typing import Any

from ovca.cluster.roles import Role
from ovca.daemon.serving import Serving


class Slow(Role):
    """A role whose start waits until it is let."""

    def __init__(self) -> None:
        self.let, self.begun, self.runs = threading.Event(), threading.Event(), False

    def start(self) -> None:
        self.begun.set()
        assert self.let.wait(20)
        self.runs = True

    def stop(self) -> None:
        self.runs = False

    def running(self) -> bool:
        return self.runs


def threads(*works: Any) -> list[threading.Thread]:
    made = [threading.Thread(target=work) for work in works]
    for thread in made:
        thread.start()
    return made


def test_who_wanted_to_stop_and_comes_too_late_leaves_the_roles_to_a_node_that_leads_again() -> None:
    role, lost = Slow(), threading.Event()
    serving = Serving([role], threading.Lock())
    starting = threads(lambda: serving.start(lambda: True))
    assert role.begun.wait(20)
    lost.set()
    waiting = threads(lambda: serving.stop(lost.is_set))

    lost.clear()  # it has renewed the lease
    role.let.set()
    for thread in (*starting, *waiting):
        thread.join(20)

    assert (role.running(), serving.stops) == (True, 0)


def test_what_is_still_lost_is_stopped() -> None:
    role = Slow()
    role.let.set()
    serving = Serving([role], threading.Lock())
    serving.start(lambda: True)

    serving.stop(lambda: True)

    assert (role.running(), serving.stops) == (False, 1)
