"""Who judges a run: what is on the disks, in the rows and on the machines, after each effect and each commit.

The invariants are those of the model checker, on the model's view of this appliance, and some on facts that the model
leaves out: tokens, nonces, times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovca.remaster.directives import Kind
from ovca.remaster.protocol import State
from tests.model import world as m
from tests.model.invariants import NAMES, at_rest, broken_by_move, broken_by_state
from tests.simulation.disks import hashed

if TYPE_CHECKING:
    from tests.simulation.appliance import Appliance
    from tests.simulation.machine import Machine

CONFIGS = {image: m.Config(image=image) for image in (m.GOOD, m.BAD, m.BAD_MASTER)}
ROWS = ('lease', 'update', 'entry', 'install_grant', 'node', 'directive')
READY_AGE = 6.0
"""As configured in :mod:`tests.simulation.disks`."""
UNSERVED = 1.0
"""Seconds that a hand-over may last in which nothing breaks."""
DECIDES = {'lease', 'update', 'entry', 'install_grant', 'directive'}


class Watch:
    """Keeps the rows as they were at the last commit, and what was broken first."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.config = CONFIGS[appliance.schedule.image]
        self.violation: str | None = None
        self.rows: dict[str, list[tuple[Any, ...]]] = {}
        self.wiped: set[tuple[str, int]] = set()
        self.states: list[str] = []
        self.unserved_since: float | None = None
        self._read(ROWS)
        update = self.update
        self.names: tuple[str, str] = (update[3], update[4])
        self.states.append(update[1])
        self._view = self.view()

    @property
    def lease(self) -> tuple[Any, ...]:
        return self.rows['lease'][0]

    @property
    def update(self) -> tuple[Any, ...]:
        """The newest one."""
        return self.rows['update'][-1]

    @property
    def state(self) -> State:
        return State(self.update[1])

    @property
    def calm(self) -> bool:
        """Whether nothing breaks in this run."""
        schedule = self.appliance.schedule
        return not schedule.strikes and not schedule.mishaps and schedule.seed is None

    def wrong(self, what: str) -> None:
        """Note a violation; the first one counts."""
        if self.violation is None:
            self.violation = what
            self.appliance.note(f'!! {what}')

    def _read(self, tables: tuple[str, ...]) -> None:
        self.rows.update(self.appliance.server.facts(tables))

    # The model's view.

    def view(self) -> m.World:
        """This appliance as a state of the model."""
        w = [0] * m.SIZE
        lease, update = self.lease, self.update
        entries = {row[0]: row for row in self.rows['entry']}
        nodes = {row[0]: row for row in self.rows['node']}
        for i, name in enumerate(self.names):
            machine, entry = self.appliance.machines[name], entries.get(name)
            attempt = entry[1] if entry else 1
            w[m.M + i] = self._machine(machine, attempt)
            w[m.D + i] = self._disk(machine, attempt)
            w[m.V + i] = self._serves(machine)
            w[m.H + i] = self._health(nodes.get(name), lease[0] == name)
            w[m.F + i] = int(bool(entry and entry[2] and entry[3] == entry[1] and entry[4] == update[2]))
        w[m.L] = self.names.index(lease[0]) if lease[0] in self.names else -1
        w[m.ACT] = int(bool(lease[3]))
        w[m.DEM] = 1 if lease[5] == lease[2] else 2 if lease[5] == lease[2] - 1 else 0
        w[m.ST] = m.N[self.state]
        w[m.PR] = int(update[5] is not None)
        target = self.names[m.TARGET_N[w[m.ST]]] if w[m.ST] in m.TARGET_N else None
        w[m.WI] = int(any(row[1] == target and row[4] is not None for row in self.rows['install_grant']))
        w[m.AB] = int(update[9] is not None)
        said = {kind for of, kind in self.rows['directive'] if of == update[0]}
        w[m.PA], w[m.HE] = int(Kind.PAUSE in said), int(Kind.HOLD in said)
        w[m.RL] = w[m.LF] = 1
        return tuple(w)

    def _machine(self, machine: Machine, attempt: int) -> int:
        if not machine.on:
            return m.OFF
        if machine.installing is not None:
            now = machine.attempt == (self.update[0], attempt)
            stage = {'asks': (m.ASK_OLD, m.ASK_NOW), 'granted': (m.GO_OLD, m.GO_NOW)}
            return stage.get(machine.installing, (m.WRITE_OLD, m.WRITE_NOW))[now]
        if machine.running is None:
            return m.DEAD
        paused = machine.running.process.paused_until > self.appliance.scheduler.now
        return m.PAUSED if paused else m.UP

    def _disk(self, machine: Machine, attempt: int) -> int:
        if machine.installing is not None:
            self.appliance.disks.states.pop(machine.name, None)
        digest, evidence, whole = self.appliance.disks.state(machine.name)
        if digest is None or not whole:
            return m.HALF
        if digest != self.update[2]:
            return m.OLD
        if evidence is None:
            return m.RAW
        now = (evidence.get('update'), evidence.get('attempt')) == (self.update[0], attempt)
        return m.NEW if now else m.NEW_OLD

    def _serves(self, machine: Machine) -> int:
        if not machine.serves:
            return m.NO
        running = machine.running
        return m.NOW if running is not None and running.service.keeper.epoch == self.lease[2] else m.STALE

    def _health(self, row: tuple[Any, ...] | None, leads: bool) -> int:
        if row is None or row[1] == 'unknown':
            return m.PENDING
        if row[1] == 'unhealthy':
            return m.FAILED
        conf = next(iter(self.appliance.confs.values())).remaster
        since = self.appliance.server.seconds(row[2]) if row[2] else None
        soak = conf.prove_soak if leads else conf.soak
        well = since is not None and self.appliance.server.utc - since >= soak
        return m.SOAKED if well and (not leads or row[3] == 'master') else m.PENDING

    # Judging.

    def look(self, what: str) -> None:
        """Something was done."""
        after = self.view()
        events: tuple[m.Event, ...] = ()
        task = self.appliance.scheduler.current
        if what.startswith('power off') and task is not None and task.name == 'fence':
            events = (('fence', self.names.index(what.rpartition(' ')[2])),)
        self._judge(what, events, after)

    def _judge(self, what: str, events: tuple[m.Event, ...], after: m.World) -> None:
        before, self._view = self._seen(self._view, events), after
        broken = broken_by_move(self.config, before, events, after) if events else None
        if broken is None:
            broken = broken_by_state(self.config, after)
        if broken is not None:
            self.wrong(f'invariant {broken} ({NAMES[broken]}) is broken by: {what}')
        self._service(after)

    def _seen(self, before: m.World, events: tuple[m.Event, ...]) -> m.World:
        """Who gets the lease may have died or been paused just now: its row that says "ready" counts for a while."""
        w = list(before)
        for what, i in events:
            machine = self.appliance.machines[self.names[i]] if what == 'give' else None
            died = machine is not None and self.appliance.scheduler.now - machine.alive_at <= READY_AGE
            if died or (machine is not None and w[m.M + i] == m.PAUSED):
                w[m.M + i] = m.UP
        return tuple(w)

    def _service(self, view: m.World) -> None:
        now = self.appliance.scheduler.now
        if view[m.V] or view[m.V + 1]:
            self.unserved_since = None
        elif self.unserved_since is None:
            self.unserved_since = now
        elif self.calm and now - self.unserved_since > UNSERVED:
            self.wrong(f'invariant 14 ({NAMES[14]}): nobody serves for {now - self.unserved_since:.1f} s')

    def committed(self, tables: set[str]) -> None:
        """A transaction was committed by whoever runs now."""
        if not tables & DECIDES:
            return
        before = dict(self.rows)
        self._view = self.view()  # what time has changed
        self._read(ROWS)
        events = [*self._lease_events(before), *self._update_events(before), *self._row_events(before)]
        self._judge(f'commit {" ".join(sorted(tables))}', tuple(events), self.view())

    def _index(self) -> int:
        machine = self.appliance.machine_here()
        return self.names.index(machine.name) if machine is not None else -1

    def _lease_events(self, before: dict[str, list[tuple[Any, ...]]]) -> list[m.Event]:
        old, new = before['lease'][0], self.lease
        if new[2] < old[2]:
            self.wrong('invariant 2: the epoch went back')
        if new[2] == old[2] and new[:2] != old[:2] and old[0] is not None:
            self.wrong('invariant 2: the holder changed without an epoch')
        if new[2] > old[2] + 1:
            self.wrong('invariant 2: an epoch was left out')
        if new[0] == old[0]:
            return []
        machine = self.appliance.machine_here()
        gave = machine is not None and machine.name == old[0]
        return [('give' if gave else 'claim', self.names.index(new[0]))]

    def _update_events(self, before: dict[str, list[tuple[Any, ...]]]) -> list[m.Event]:
        events: list[m.Event] = []
        olds = {row[0]: row for row in before['update']}
        if sum(row[6] is None for row in self.rows['update']) > 1:
            self.wrong('invariant 13: two updates are open')
        for new in self.rows['update']:
            old = olds.get(new[0])
            if old is None or new == old:
                continue
            if new[2:5] != old[2:5] or new[8] != old[8]:
                self.wrong('invariant 13: what an update pins has changed')
            if new[1] == old[1]:
                continue
            self.states.append(new[1])
            machine = self.appliance.machine_here()
            lease = before['lease'][0]
            running = machine.running if machine is not None else None
            if running is None or (lease[0], lease[1]) != (machine.name, running.service.incarnation):  # type: ignore[union-attr]
                events.append(('stale-write', self._index()))
            events += [('arrived', self._index()), ('enter', m.N[State(new[1])])]
            if new[5] is not None and old[5] is None:
                events.append(('commit', self._index()))
                self._proved()
        return events

    def _proved(self) -> None:
        """Only now may the second node be wiped: the first was healthy as master, but for the time of one pass."""
        row = next(row for row in self.rows['node'] if row[0] == self.names[0])
        if row[3] != 'master' or row[4] != self.lease[2]:
            self.wrong('invariant 8: the commit point without a soak as master in this epoch')
        if self.appliance.disks.state(self.names[0])[0] != self.update[2]:
            self.wrong('invariant 8: the commit point while other software is on the disk')

    def _row_events(self, before: dict[str, list[tuple[Any, ...]]]) -> list[m.Event]:
        events: list[m.Event] = []
        grants = {row[0]: row for row in before['install_grant']}
        for row in self.rows['install_grant']:
            old = grants.get(row[0])
            if old is None:
                events.append(('issue', self.names.index(row[1])))
            if row[4] is not None and (old is None or old[4] is None):
                events.append(('consume', self.names.index(row[1])))
                if row[1] == self.lease[0]:
                    self.wrong('invariant 5: the holder gave away its own disk')
            if old is not None and old[4] is not None and (row[4] != old[4] or row[9] != old[9]):
                self.wrong('invariant 3: a grant was consumed a second time')
        entries = {row[0]: row for row in before['entry']}
        for row in self.rows['entry']:
            old = entries.get(row[0])
            if old is not None and row[1] != old[1]:
                events.append(('attempt', self.names.index(row[0])))
            if old is not None and row[5] > old[5]:
                events.append(('drive', self.names.index(row[0])))
            if row[2] is not None and (old is None or old[2] != row[2]):
                events.append(('final', self.names.index(row[0])))
                self._final(row)
        return events

    def _final(self, row: tuple[Any, ...]) -> None:
        digest, evidence, whole = self.appliance.disks.state(row[0])
        token = (evidence or {}).get('attempt')
        if digest != self.update[2] or not whole or token != row[1]:
            self.wrong(f'invariant 9: the entry of {row[0]} is final, and its disk proves it not')

    def granted(self, machine: Machine, nonce: str) -> None:
        """An installer believes that it may wipe."""
        for row in self.rows['install_grant']:
            if row[1] == machine.name and row[4] is not None and row[9] == hashed(nonce):
                key = (machine.name, row[0])
                if key in self.wiped:
                    self.wrong('invariant 3: one grant, two wipes')
                self.wiped.add(key)
                return
        self.wrong(f'invariant 3: {machine.name} is wiped without a grant')

    def wipes(self, machine: Machine) -> None:
        """A disk is about to be emptied."""
        self._view = self.view()
        self._judge(f'{machine.name} is wiped', (('wipe', self.names.index(machine.name)),), self._view)

    # The end.

    @property
    def over(self) -> bool:
        """Whether the update has ended, and the software serves that should."""
        return at_rest(self.config, self.view())

    def finished(self) -> None:
        """Judge what is left at the end."""
        state = self.state
        if state is State.DONE:
            for name in self.names:
                digest, _, whole = self.appliance.disks.state(name)
                if digest != self.update[2] or not whole:
                    self.wrong(f'invariant 10: DONE, and {name} runs something else')
        if self.config.image != m.GOOD and state is State.DONE:
            self.wrong('invariant 11: a bad image is DONE')
        conf = next(iter(self.appliance.confs.values())).remaster
        if sum(row[5] for row in self.rows['entry']) > conf.power_orders:
            self.wrong('invariant 14: more power cycles than are allowed')
        for row in self.rows['node']:
            machine = self.appliance.machines[row[0]]
            digest = self.appliance.disks.state(row[0])[0]
            if machine.running is not None and machine.running.service.digest != digest:
                self.wrong(f'{row[0]} runs something else than its disk holds')
