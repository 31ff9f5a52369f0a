"""What the remaster needs of the daemon around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovca.power.base import PowerDriver
from ovca.remaster.protocol import State


@dataclass(frozen=True)
class Hands:
    """What the acting master can see and do outside of the database."""

    epoch: Callable[[], int | None]
    """The epoch under which this node acts, or None."""
    power: Callable[[str], PowerDriver]
    """The power driver of a node."""
    checks: Callable[[str], list[str]]
    """Run the checks for a version; return the sentences of those that fail."""
    stage_checks: Callable[[str, State], list[str]]
    """Run those that are repeated before a state is entered; return the sentences of those that fail."""
    stop_serving: Callable[[], None]
    """Stop roles and virtual IP, and verify it; raises when something still runs."""
    gave_away: Callable[[int, bool], None]
    """The lease was handed over under this epoch; whether the node is to reboot."""
    give_up: Callable[[], None]
    """A hand-over was given up; serve again after a re-claim."""
    poke: Callable[[], None]
    """Wake the peer."""
    save_site: Callable[[str], None]
    """Let a node that is to be wiped save what an operator set by hand; one that is silent is not waited for."""
