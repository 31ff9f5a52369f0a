"""The people around the appliance: who asks for something, and who presses a power button when nothing else helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovca.db.models import Request

if TYPE_CHECKING:
    from tests.simulation.appliance import Appliance

ROUND = 5.0
"""Seconds between two looks at the machines."""
PATIENCE = 25.0
"""Seconds that a machine may be off before somebody presses its button, if nobody else can bring it back."""


class Operator:
    """Writes requests as the commands do, and looks after machines that no master cares for."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.database = appliance.server.open()
        appliance.scheduler.start(appliance.world, 'operator', self._rounds)

    def asks(self, kind: str, **args: Any) -> None:
        """Ask the acting master for something."""
        with self.database.write() as session:
            now = self.database.now(session)
            session.add(Request(kind=kind, args=args, state='open', created_at=now, created_by='otto'))

    def _rounds(self) -> None:
        scheduler = self.appliance.scheduler
        while True:
            scheduler.sleep(ROUND)
            for machine in self.appliance.machines.values():
                if machine.on or scheduler.now - machine.off_since < PATIENCE:
                    continue
                other = self.appliance.other(machine)
                if other.running is None or not other.serves:
                    self.appliance.note(f'somebody presses the power button of {machine.name}')
                    machine.power_returns()
