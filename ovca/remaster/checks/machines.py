"""Checks of both machines: their clocks, the room on their file systems, their network cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ovca.cluster.machine import Card, FileSystem, Machine
from ovca.cluster.nodes import mac_of
from ovca.conf.storage import unmounted
from ovca.db.models import Node
from ovca.remaster.checks import Check, CheckContext, CheckResult

ASK = 'start ovca.service there, see to [cluster] peer_url here, and to the way between the nodes'


class PeerStatus(Check):
    """The status server of the other node tells of its machine; other checks need what it says."""

    id = 'peer-status'

    def check(self) -> CheckResult:
        heard, peer = self.context._machines.peer(), self.context.conf.cluster.peer
        facts = {'url': self.context.conf.cluster.peer_url, 'node': heard.machine.node if heard.machine else None}
        if heard.machine is not None:
            return self.passed(f'{peer} tells of its machine', facts)
        if heard.wrong and not self.context.retry:
            return self.warning(f'{heard.why}; {peer} is not looked at', ASK, facts)
        return self.skipped(heard.why, facts)


class Clocks(Check):
    """The clocks of both nodes agree with the database's."""

    id = 'clocks'

    def check(self) -> CheckResult:
        limits = self.context.conf.check
        own, error = self._own()
        differences = {self.context.conf.cluster.node_name: own}
        heard = self.context._machines.peer()
        if heard.machine is not None:
            round_trip = heard.heard_at - heard.asked_at
            differences[heard.machine.node] = own + heard.machine.time - (heard.asked_at + round_trip / 2)
            error += round_trip / 2
        facts = {
            'seconds': {name: round(value, 3) for name, value in differences.items()},
            'measured_within': round(error, 3),
            'warning_above': limits.clock_warning,
            'failed_above': limits.clock_limit,
        }
        name, most = max(differences.items(), key=lambda item: abs(item[1]))
        told = f'the clock of {name} is {abs(most):.1f} s {"ahead of" if most > 0 else "behind"} the database'
        for limit, say in ((limits.clock_limit, self.failed), (limits.clock_warning, self.warning)):
            if abs(most) - error > limit:
                return say(f'{told}, more than {limit:g} s', f'see to the time service (NTP) of {name}', facts)
        if heard.machine is None:
            return self.skipped(f'{told}; the other is not known: {heard.why}', facts)
        return self.passed(f'the clocks are within {abs(most) + error:.1f} s of the database', facts)

    def _own(self) -> tuple[float, float]:
        """How far this clock is ahead of the database's, and how far that may be wrong; in seconds."""
        clock, database = self.context._machines.clock, self.context.database
        with database.read() as session:
            database.now(session)  # connecting may take its time
            before = clock()
            theirs = database.now(session).timestamp()
            after = clock()
        return (before + after) / 2 - theirs, (after - before) / 2


class Space(Check):
    """Every file system that the appliance needs, of both nodes, has its reserve left."""

    id = 'space'

    def __init__(self, context: CheckContext, *, without: str | None = None) -> None:
        super().__init__(context)
        self._without = without
        """A node whose own file systems do not matter: it is about to be wiped."""

    def check(self) -> CheckResult:
        own, heard = self.context._machines.own(), self.context._machines.peer()
        seen = list(self._seen(own))
        if not any(system.shared for _, system in seen):
            where = self.context.conf.image.shared_storage
            return self.failed(f'the shared storage {where} is not there', 'mount it')
        if why := unmounted(self.context.conf):
            return self.failed(why, 'mount it')
        if heard.machine is not None:
            seen += [each for each in self._seen(heard.machine) if each[1].shared or each[0] != self._without]
        facts = {
            'file_systems': [
                {
                    'node': node,
                    'path': system.path,
                    'free': system.free,
                    'total': system.total,
                    'reserve': self._reserve(system),
                }
                for node, system in seen
            ]
        }
        short = [(node, system) for node, system in seen if system.free < self._reserve(system)]
        if short:
            return self.failed('; '.join(self._told(*each) for each in short), self._remedy(short), facts)
        node, least = min(seen, key=lambda each: each[1].free - self._reserve(each[1]))
        told = f'{least.path} of {node} has {least.free // 1_000_000} MB free'
        if heard.machine is None:
            return self.passed(f'{told}; the other node is not looked at: {heard.why}', facts)
        return self.passed(f'{told}; all others have more to spare', facts)

    @staticmethod
    def _seen(machine: Machine) -> Iterator[tuple[str, FileSystem]]:
        return ((machine.node, system) for system in machine.file_systems)

    def _reserve(self, system: FileSystem) -> int:
        conf = self.context.conf
        return int(conf.image.space_reserve if system.shared else conf.check.space_reserve)

    def _told(self, node: str, system: FileSystem) -> str:
        option = '[image] space_reserve' if system.shared else '[check] space_reserve'
        reserve = self._reserve(system)
        return f'{system.path} of {node} has {system.free} bytes free, fewer than {option} = {reserve}'

    @staticmethod
    def _remedy(short: list[tuple[str, FileSystem]]) -> str:
        if any(system.shared for _, system in short):
            return 'delete old images with `ovca image-delete`, or enlarge the storage'
        return 'make room there: see to logs and old files'


class NetworkCards(Check):
    """The network card that each node boots from is in the machine, and has link."""

    id = 'network-cards'

    def check(self) -> CheckResult:
        cluster = self.context.conf.cluster
        heard = self.context._machines.peer()
        machines = {cluster.node_name: self.context._machines.own()}
        if heard.machine is not None:
            machines[heard.machine.node] = heard.machine
        bad: list[str] = []
        unknown: list[str] = []
        good: list[str] = []
        facts: dict[str, Any] = {}
        for name, mac in self._wanted().items():
            machine = machines.get(name)
            card = _card(machine, mac) if machine and mac else None
            facts[name] = {'mac': mac or None, 'card': card.name if card else None, 'link': card.link if card else None}
            if not mac:
                unknown.append(f'no card of {name} is known')
            elif machine is None:
                unknown.append(heard.why)
            elif card is None:
                bad.append(f'{name} has no network card {mac}')
            elif not card.link:
                bad.append(f'the network card {card.name} ({mac}) of {name} has no link')
            else:
                good.append(name)
        if bad:
            remedy = (
                'see to the cable and the switch, or name the right card in [provision] mac, or with `ovca node-set` '
                'if that does not name the node'
            )
            return self.failed('; '.join(bad), remedy, facts)
        if not good:
            return self.skipped('; '.join(unknown), facts)
        told = f'the network card of {good[0]} has link'
        if len(good) > 1:
            told = f'the network cards of {" and ".join(good)} have link'
        return self.passed('; '.join([told, *unknown]), facts)

    def _wanted(self) -> dict[str, str]:
        cluster = self.context.conf.cluster
        names = [name for name in (cluster.node_name, cluster.peer) if name]
        with self.context.database.read() as session:
            rows = {name: session.get(Node, name) or Node(name=name) for name in names}
        return {name: mac_of(self.context.conf, row) for name, row in rows.items()}


def _card(machine: Machine, mac: str) -> Card | None:
    """The card with this address; of several the one with link."""
    found = [card for card in machine.cards if card.mac == mac]
    return max(found, key=lambda card: card.link, default=None)
