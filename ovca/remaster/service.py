"""What the commands delegate to: it reads rows, writes requests, and watches; the master's service does the work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ovca.db.models import Event, Node, Update
from ovca.exceptions import DatabaseUnavailable, Refused, UsageError
from ovca.image.fetch import redacted
from ovca.remaster import reading
from ovca.remaster.asking import POLL, Notice, quiet
from ovca.remaster.image_service import ImageService
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import Landing, State, abort_landing
from ovca.remaster.views import EntryView, EventView, NodeView, Snapshot, UpdateView

if TYPE_CHECKING:
    from ovca.remaster import plan as planning
    from ovca.remaster.alone import Alone
    from ovca.remaster.inventory import Facts
    from ovca.remaster.locks import LockView
    from ovca.remaster.operations import Hold
    from ovca.remaster.outlook import Expectation
    from ovca.remaster.story import Story

AWAY = 1.0
"""Seconds between two looks while the database does not answer."""


class Service(ImageService):
    """The library behind the commands. Reading works on every node, writing only where the master is."""

    # Who and what is there.

    def nodes(self) -> tuple[NodeView, ...]:
        """All nodes, by name."""
        with self.database.read() as session:
            leader = reading.master(session, self.here)
            found = reading.nodes(session, leader=leader, silent_after=self._silent_after)
        return tuple(self._configured(node) for node in found)

    def _configured(self, node: NodeView) -> NodeView:
        """The node with the BMC and the card that the configuration names for it: they win over the row's."""
        from ovca.cluster.nodes import mac_form

        bmc, mac = (self.conf.power.bmc or {}).get(node.name), (self.conf.provision.mac or {}).get(node.name)
        if bmc:
            node = replace(node, bmc=redacted(bmc), bmc_source='configuration')
        if mac:
            node = replace(node, mac=mac_form(mac), mac_source='configuration')
        return node

    def alone(self) -> Alone | None:
        """Whether the appliance runs on one node only, since when and why."""
        from ovca.remaster.alone import alone

        with self.database.read() as session:
            return alone(session, self.conf)

    def node(self, name: str) -> NodeView:
        """One node. :raises UsageError: it is not known."""
        found = self.nodes()
        for node in found:
            if node.name == name:
                return node
        known = ', '.join(n.name for n in found) or 'none yet'
        raise UsageError(f'there is no node {name!r}; known are: {known}', id='no-node')

    def running_image(self) -> str:
        """The version of the published image that this node runs. :raises Refused: it is not on the shared storage."""
        from ovca.remaster import inventory

        with self.database.read() as session:
            node = session.get(Node, self.here)
            return inventory.running_image(session, self.here, node.running_digest if node else None).version

    def settable(self, name: str, facts: Facts) -> list[str]:
        """Let a change of a node pass; return the options of the configuration that win over what is said.

        :raises UsageError: there is no such node. :raises Refused: it is not possible now.
        """
        from ovca.remaster import inventory

        self.node(name)
        with self.database.read() as session:
            inventory.check_change(session, self.conf, name, facts)
        return self.unheard(name, facts)

    def unheard(self, name: str, facts: Facts) -> list[str]:
        """The options of the configuration that win over what is said of a node."""
        from ovca.remaster import inventory

        conf = self.conf
        configured = {'[power] bmc': conf.power.bmc or {}, '[provision] mac': conf.provision.mac or {}}
        return inventory.unheard(facts, name, configured)

    def replaceable(self, name: str, facts: Facts) -> list[str]:
        """Let the replacement of a node's machine pass; return the options of the configuration that win.

        :raises UsageError: there is no such node. :raises Refused: it is alive, leads, or is not installed now.
        """
        from ovca.remaster import decisions, inventory

        if self.node(name).name == self.here:
            raise Refused(
                f'{name} is master, and this node; a machine that serves did not die for good', id='node-is-master'
            )
        with self.database.read() as session:
            inventory.check_replace(session, self.conf, name, facts)
            decisions.check_target(session, name)
        return self.unheard(name, facts)

    def deletable(self, name: str) -> NodeView:
        """Let the deletion of a node pass. :raises UsageError: there is none. :raises Refused: it stays."""
        from ovca.remaster import inventory

        node = self.node(name)
        with self.database.read() as session:
            inventory.check_delete(session, self.conf, name)
        return node

    # Updates.

    def updates(self, limit: int = 20, *, before: int | None = None) -> list[UpdateView]:
        """The last updates, the newest first; of those with a number below ``before`` if it is given."""
        query = select(Update).order_by(Update.id.desc()).limit(limit)
        with self.database.read() as session:
            rows = session.scalars(query if before is None else query.where(Update.id < before))
            return [reading.update(row) for row in rows]

    def update(self, id: int | None = None) -> UpdateView:
        """One update, or the latest. :raises UsageError: there is none."""
        with self.database.read() as session:
            row = newest_update(session) if id is None else session.get(Update, id)
            if row is None:
                raise UsageError(_no_update(id), id='no-update')
            return reading.update(row)

    def open_update(self) -> UpdateView | None:
        """The update that is going on, if there is one."""
        with self.database.read() as session:
            row = newest_update(session)
            return reading.update(row) if row is not None and not State(row.state).ended else None

    def entries(self, update: UpdateView) -> tuple[EntryView, ...]:
        """The nodes' records in an update, in the order of installation."""
        with self.database.read() as session:
            return reading.entries(session, update)

    def events(self, update_id: int, after: int = 0) -> tuple[EventView, ...]:
        """The journal of an update, after the event with the number ``after``."""
        with self.database.read() as session:
            return reading.events(session, update_id, after)

    def story(self, id: int | None = None) -> Story:
        """The whole story of an update, or of the latest. :raises UsageError: there is none."""
        from ovca.remaster import story

        update = self.update(id)
        with self.database.read() as session:
            return story.read(session, update.id)

    def journal(
        self,
        *,
        update_id: int | None = None,
        kind: str | None = None,
        node: str | None = None,
        since: dt.datetime | dt.timedelta | None = None,
        limit: int,
    ) -> tuple[EventView, ...]:
        """The newest events that fit, the newest last; a ``since`` that is a duration counts back from now.

        :raises UsageError: there is no such kind, or no such node.
        """
        from ovca.remaster import journal

        with self.database.read() as session:
            if isinstance(since, dt.timedelta):
                since = _ago(self.database.now(session), since)
            if kind is not None:
                journal.check_kind(session, kind)
            if node is not None:
                journal.check_node(session, self.conf, node)
            return reading.journal(session, update_id=update_id, kind=kind, node=node, since=since, limit=limit)

    def snapshot(self, update_id: int, after: int = 0) -> Snapshot:
        """An update with all around it, at one moment. :raises UsageError: there is no such update."""
        with self.database.read() as session:
            row = session.get(Update, update_id)
            if row is None:
                raise UsageError(_no_update(update_id), id='no-update')
            update, leader = reading.update(row), reading.master(session, self.here)
            return Snapshot(
                update=update,
                entries=reading.entries(session, update),
                nodes=reading.nodes(session, leader=leader, silent_after=self._silent_after),
                master=leader,
                events=reading.events(session, update_id, after),
                now=self.database.now(session),
                directives=reading.directives(session, update_id, holding=True),
            )

    def follow(self, update_id: int, *, after: int = 0, on_notice: Notice = quiet) -> Iterator[Snapshot]:
        """Yield a snapshot whenever something changed, until the update is over; the last one shows the end.

        While the database cannot be reached it says so through ``on_notice``, goes on trying, and yields what the other
        node tells meanwhile (``told_by``).
        """
        from ovca.remaster import elsewhere

        last: tuple[Any, ...] | None = None
        said: str | None = None
        while True:
            seen: Snapshot | None
            try:
                seen = self.snapshot(update_id, after)
            except DatabaseUnavailable as exc:
                if said is None:
                    on_notice(f'{exc}; the other node is asked until it answers')
                heard = elsewhere.ask(self.conf, update_id, after)
                seen, words = heard.snapshot, heard.words
                if seen is not None and seen.update.state.ended:
                    words += f': {seen.update.state}; that counts when the database confirms it'
                if words != said:
                    on_notice(words)
                said = words
            else:
                if said is not None:
                    on_notice('the database answers again')
                said = None
            if seen is not None:
                if seen.events:
                    after = seen.events[-1].id
                if seen.events or seen.key != last:
                    last = seen.key
                    yield seen
                if seen.update.state.ended and seen.told_by is None:
                    return
            self._sleep(POLL if said is None else AWAY)

    def newest_elsewhere(self) -> int | None:
        """The number of the newest update as the other node tells it, for a start without the database."""
        from ovca.remaster import elsewhere

        heard = elsewhere.ask(self.conf, None).snapshot
        return heard.update.id if heard is not None else None

    def expectation(self, update_id: int) -> Expectation:
        """How long this update is likely to take. :raises UsageError: there is no such update."""
        from ovca.remaster import outlook

        with self.database.read() as session:
            row = session.get(Update, update_id)
            if row is None:
                raise UsageError(_no_update(update_id), id='no-update')
            return outlook.expectation(session, row)

    def installable(self, version: str | None) -> None:
        """Let the start of an update pass, before anything is done for it.

        :raises UpdateOpen: one to another version is open. :raises OperationHeld: an operation is held.
        """
        from ovca.remaster import operations

        with self.database.read() as session:
            operations.installable(session, version)

    def heed_hold(self, update_id: int) -> None:
        """Let the wish pass that an open update stops before its commit point. :raises Refused: it does not."""
        from ovca.remaster import conflicts

        with self.database.read() as session:
            conflicts.heed_hold(session, update_id)

    def must_be_free(self, what: str) -> None:
        """Refuse early what needs the appliance for itself.

        :raises UpdateOpen: an update is open. :raises OperationHeld: an operation is held.
        """
        from ovca.remaster import operations

        with self.database.read() as session:
            operations.refuse(session, what)

    # Locks.

    def held(self, name: str, *, why: str) -> AbstractContextManager[Hold]:
        """Hold an operation, see :func:`ovca.remaster.operations.held`, in the name of who has called."""
        from ovca.remaster import operations

        return operations.held(self.database, name, owner=self.user, node=self.here, why=why)

    def locks(self) -> tuple[LockView, ...]:
        """What forbids something now: the open update, an operation, a process that works on the images."""
        from ovca.image import Store
        from ovca.remaster import locks

        with self.database.read() as session:
            found = locks.views(session, here=self.here)
        holder = Store.from_conf(self.conf).lock_holder()
        return found if holder is None else (*found, locks.of_images(holder))

    def breakable(self, name: str) -> LockView:
        """The lock to break. :raises UsageError: there is none. :raises Refused: it is none that is broken."""
        from ovca.remaster import locks

        return locks.breakable(self.locks(), name)

    def claim(self, known_off: str) -> int:
        """Ask that this node leads although the other one's BMC cannot prove that it is off; the request's number.

        Written here, not by a master: there is none. :raises UsageError: the name is not that of the other node, or of
        the last master. :raises Refused: there is a master.
        """
        from ovca.remaster import claims

        peer = self.conf.cluster.peer
        if known_off != peer:
            raise UsageError(f'the other management node is {peer}, not {known_off!r}', id='other-holder')
        with self.database.write() as session:
            return claims.ask(session, claims.Claim(self.here, known_off), self.user)

    def why_not_lead(self) -> str | None:
        """Why what runs on this node does not allow it to lead, and what helps; None if it may."""
        from ovca.remaster import eligible

        with self.database.read() as session:
            return eligible.why_not(session, self.here)

    def wait_for_master(self, name: str, seconds: float) -> bool:
        """Wait until a node acts as master; return whether it does."""
        until = self._clock() + seconds
        for leader in self._polled(self.master, quiet):
            if leader.holder == name and leader.acting and not leader.expired:
                return True
            if self._clock() > until:
                break
        return False

    def unserved(self) -> float | None:
        """Seconds that nobody acted as master at the last change of master, from the journal; None: not known."""
        from ovca.db.models import Event
        from ovca.remaster.story import gaps

        newest = select(Event).where(Event.kind == 'lease').order_by(Event.id.desc()).limit(8)
        with self.database.read() as session:
            found = gaps(reversed(list(session.scalars(newest))))
        return found[-1].seconds if found else None

    def explain(self) -> dict[str, Any]:
        """What the open update does and why, and what would happen if something failed now.

        :raises Refused: no update is open.
        """
        from ovca.remaster import foretold
        from ovca.remaster import plan as planning
        from ovca.remaster.eligible import eligible_in
        from ovca.remaster.observe import Limits, observe

        limits = Limits.from_conf(self.conf)
        with self.database.read() as session:
            update, leader = newest_update(session), reading.master(session, self.here)
            node = session.get(Node, leader.holder) if leader.holder else None
            if update is None or State(update.state).ended or node is None:
                raise Refused(
                    'no update is open, so there is nothing to explain; see `ovca update-list`', id='nothing-open'
                )
            seen = observe(session, me=node.name, epoch=leader.epoch, running_digest=node.running_digest, limits=limits)
            peer = session.get(Node, update.second if node.name == update.first else update.first)
            proven = peer is not None and eligible_in(session, update, peer.name, peer.running_digest)
            alarm = select(Event.detail).where(Event.update_id == update.id, Event.kind == 'alarm')
            alarm = alarm.where(Event.at >= update.deadline_from).order_by(Event.id.desc()).limit(1)
            last_alarm = session.scalars(alarm).first()
            view, decided = reading.update(update), reading.directives(session, update.id, holding=True)
        if seen is None:
            raise Refused(
                f'{node.name} is master and no part of update {update.id}; see `ovca master-show`', id='nothing-open'
            )
        times = foretold.Times(leader.ttl, self.conf.cluster.self_demote)
        silent = None
        if leader.expired or not leader.acting:
            quiet = f' and has not renewed it {leader.unrenewed}' if leader.expired and leader.age else ''
            silent = f'{node.name} holds the lease{quiet}, and does not serve: nothing is decided now'
        paused = planning.halted(view, decided) or planning.to_stop(view, decided)
        return foretold.told(seen, limits, times, peer_proven=proven, silent=silent, alarm=last_alarm, paused=paused)

    def landing(self, update: UpdateView) -> Landing:
        """Where an abort would end now."""
        with self.database.read() as session:
            return abort_landing(update.state, wiped=reading.wiped(session, update.id, [update.first]))

    def plan(self, version: str) -> planning.Plan:
        """What ``activate`` would do. :raises Refused: this appliance cannot be updated as it is configured."""
        from ovca.remaster import plan as planning
        from ovca.remaster.observe import Limits

        image, leader = self.image(version), self.master()
        names = [name for name in (self.here, self.conf.cluster.peer) if name]
        if len(names) < 2:
            raise Refused('there is no second management node to hand over to; set [cluster] peer', id='no-second-node')
        second = next((name for name in names if name == leader.holder), self.here)
        first = next(name for name in names if name != second)
        old = next((n.version for n in self.nodes() if n.name == second), None)
        limits = Limits.from_conf(self.conf)
        applied = self.conf.remaster.components
        return planning.make(image, first=first, second=second, old_version=old, limits=limits, applied=applied)

    def retry_plan(self) -> planning.Plan:
        """What ``update-retry`` would do. :raises Refused: the last update is not one that can be retried."""
        last = self.update()
        if not last.state.ended or last.state in (State.DONE, State.ABORTED):
            raise Refused(f'update {last.id} is {last.state}; only a failed update can be retried', id='no-retry')
        return self.plan_of(last, retry_of=last.id)

    def plan_of(self, update: UpdateView, *, retry_of: int | None = None) -> planning.Plan:
        """The plan of an update that was opened."""
        from ovca.remaster import plan as planning
        from ovca.remaster.observe import Limits

        return planning.make(
            self.image(update.version),
            first=update.first,
            second=update.second,
            old_version=update.old_version,
            limits=Limits.from_conf(self.conf),
            proven=update.proven_at is not None,
            retry_of=retry_of or update.retry_of,
            applied=self.conf.remaster.components,
        )

    @property
    def _silent_after(self) -> float:
        from ovca.cluster.nodes import silent_after

        return silent_after(self.conf)


def _no_update(id: int | None) -> str:
    if id is None:
        return 'there was no update yet; begin one with `ovca update`'
    return f'there is no update {id}; see `ovca update-list`'


def _ago(now: dt.datetime, span: dt.timedelta) -> dt.datetime:
    try:
        return now - span
    except OverflowError:
        return dt.datetime.min.replace(tzinfo=dt.UTC)
