"""Judges what a run has left. Pure, and knows the rules of the protocol's page only, no code of the product."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.faults.facts import Facts, UpdateFact

ENDS = ('DONE', 'ABORTED', 'FAILED_DEGRADED', 'FAILED_ROLLED_BACK', 'FAILED_FORWARD')
WHOLE = ('DONE', 'ABORTED')
"""End states with a standby that can take over."""
SLOP = 0.05
"""Seconds by which times of different programs on this machine may differ."""


def problems(facts: Facts) -> list[str]:
    """What is wrong, a sentence each."""
    return [line for rule in RULES for line in rule(facts)]


def one_at_a_time(facts: Facts) -> Iterator[str]:
    """Never two serve at once (invariant 1)."""
    for note in facts.notes:
        if note.what == 'clash':
            yield f'{note.node} began to serve at {note.at:.3f} while the other one still served'
    for before, after in pairwise(note for note in facts.notes if note.what != 'clash'):
        if after.what == 'stop' and after.node != before.node:
            yield f'{after.node} ended to serve at {after.at:.3f}, after {before.node} had begun'


def who_serves_leads(facts: Facts) -> Iterator[str]:
    """A node begins to serve only while the journal says that it acts."""
    acts = [(line.at, line.node) for line in facts.journal if line.kind == 'lease' and ' acts as master' in line.detail]
    for note in facts.notes:
        if note.what != 'start':
            continue
        leaders = [node for at, node in acts if at <= note.at + SLOP]
        if not leaders or leaders[-1] != note.node:
            yield f'{note.node} began to serve at {note.at:.3f}, when {leaders[-1] if leaders else "nobody"} acted'


def epochs_rise(facts: Facts) -> Iterator[str]:
    """The epoch never decreases, in the journal and in the lease (invariant 2); each claim has its own."""
    told = [line.epoch for line in facts.journal if line.epoch is not None]
    for name, epochs in (('the journal', told), ('the lease', facts.epochs)):
        for before, after in pairwise(epochs):
            if after < before:
                yield f'in {name} the epoch fell from {before} to {after}'
    takers: dict[int, str | None] = {}
    for line in facts.journal:
        taken = line.kind == 'lease' and (' claimed the lease' in line.detail or ' handed the lease' in line.detail)
        if taken and line.epoch is not None:
            if line.epoch in takers:
                yield f'epoch {line.epoch} was taken twice: by {takers[line.epoch]} and by {line.node}'
            takers[line.epoch] = line.node


def wipes_are_granted(facts: Facts) -> Iterator[str]:
    """No node is wiped without consuming a grant, one for each wipe, from another that leads (invariants 3 and 5)."""
    for node in facts.disks:
        consumed = sorted(g.consumed_at for g in facts.grants if g.node == node and g.consumed_at is not None)
        wipes = sorted(wipe.at for wipe in facts.wipes if wipe.node == node)
        for number, at in enumerate(wipes):
            if number >= len(consumed) or consumed[number] > at + SLOP:
                yield f'{node} was wiped at {at:.3f} without a grant of its own; grants were consumed at {consumed}'
        if facts.orders.get(node, 0) > len(consumed):
            yield f'{node} said {facts.orders[node]} times that it wipes its disk, with {len(consumed)} grants'
    told = [line for line in facts.journal if line.kind == 'grant-consumed']
    if len(told) != sum(grant.consumed_at is not None for grant in facts.grants):
        yield f'the journal tells of {len(told)} consumed grants, and their rows of others'
    for line in told:
        if line.node == line.actor:
            yield f'{line.node} was wiped while it held the lease'
        actors = [e.node for e in facts.journal if e.id < line.id and ' acts as master' in e.detail]
        if not actors or actors[-1] != line.actor:
            yield f'{line.actor} granted a wipe of {line.node} while {actors[-1:]} acted'


def a_system_is_left(facts: Facts) -> Iterator[str]:
    """At no instant are both nodes without a system (invariants 4 and 7)."""
    for at in facts.both_blank:
        yield f'at {at:.3f} neither node had a system on its disk'


def disks_are_what_they_say(facts: Facts) -> Iterator[str]:
    """What a disk's record names is what is on it, file by file; evidence is of a grant that was consumed."""
    for node, disk in facts.disks.items():
        if disk.wrong:
            yield f'{node} says {disk.version}, and {len(disk.wrong)} files differ; the first is {disk.wrong[0]}'
        if disk.evidence is not None:
            update, attempt, token = disk.evidence
            grants = [g for g in facts.grants if (g.update, g.node, g.attempt) == (update, node, attempt)]
            if not any(grant.evidence == token and grant.consumed_at for grant in grants):
                yield f'the evidence on {node} is of update {update}, attempt {attempt}, which no grant knows'


def transitions_are_told_once(facts: Facts) -> Iterator[str]:
    """The journal is a chain: each transition begins where the one before ended, up to the state of the row."""
    if facts.update is None:
        return
    state: str | None = None
    for line in facts.journal:
        if line.to_state is None or line.update != facts.update.id:
            continue
        if line.from_state != state:
            yield f'the journal goes from {state} on with {line.from_state} -> {line.to_state}'
        if line.from_state == line.to_state and 'attempt' not in line.detail:
            yield f'the journal tells twice that the update is in {line.to_state}'
        state = line.to_state
    if state != facts.update.state:
        yield f'the journal ends with {state}, and the update is in {facts.update.state}'


def finals_have_evidence(facts: Facts) -> Iterator[str]:
    """An entry is final only with the pinned digest and on evidence (invariant 9)."""
    if facts.update is None:
        return
    for entry in facts.entries:
        if not entry.final:
            continue
        if entry.digest != facts.update.digest:
            yield f'the entry of {entry.node} is final with {entry.digest}'
        if not any(
            g.consumed_at and (g.update, g.node, g.attempt) == (facts.update.id, entry.node, entry.attempt)
            for g in facts.grants
        ):
            yield f'the entry of {entry.node} is final for attempt {entry.attempt}, and no grant of it was consumed'


def no_second_wipe_before_the_proof(facts: Facts) -> Iterator[str]:
    """The node installed second is wiped only after the commit point (invariants 6 and 8)."""
    if facts.update is None:
        return
    proven = False
    for line in facts.journal:
        if line.update != facts.update.id:
            continue
        proven |= (line.from_state, line.to_state) == ('PROVING', 'INSTALL_2')
        if line.kind == 'grant-consumed' and line.node == facts.update.second and not proven:
            yield f'{line.node} was wiped before the new software was proven'
    if proven != facts.update.proven:
        yield f'the journal and the row differ about the commit point: {proven}, {facts.update.proven}'


def the_end_is_as_it_says(facts: Facts) -> Iterator[str]:
    """There is a named end, one master that serves, and disks and rows as the end state says (invariants 10 and 12)."""
    if facts.holder is None or not facts.acting:
        yield f'in the end nobody acts; the lease is with {facts.holder}'
        return
    master = facts.disks[facts.holder]
    if facts.serving != (facts.holder,):
        yield f'{facts.holder} is master in the end, and the role runs on {facts.serving or "no node"}'
    if not master.version:
        yield f'the master {facts.holder} has no system on its disk'
    row = facts.nodes.get(facts.holder)
    if row is None or row.running_digest != master.digest:
        yield f'the master {facts.holder} runs {row and row.running_digest}, it says; on its disk is {master.digest}'
    if facts.update is None:
        if facts.wipes or any(disk.version != '1.0.0' for disk in facts.disks.values()):
            yield 'there is no update, and the disks have changed'
        return
    if facts.update.state not in ENDS or not facts.update.finished:
        yield f'the update has not ended: it is in {facts.update.state}'
        return
    yield from _state(facts, facts.update)


def _state(facts: Facts, update: UpdateFact) -> Iterator[str]:
    digests = {node: disk.digest for node, disk in facts.disks.items()}
    master = digests[facts.holder or '']
    match update.state:
        case 'DONE':
            if set(digests.values()) != {update.digest}:
                yield f'the update is DONE, and the disks hold {digests}'
            if not all(entry.final for entry in facts.entries) or len(facts.entries) != 2:
                yield 'the update is DONE, and not both entries are final'
        case 'FAILED_FORWARD':
            # The one exception of the table: the old node came to lead, and the proven one was not back in time.
            exception = master == update.old_digest and 'the target leads' in _last_transition(facts)
            if not update.proven or not (master == update.digest or exception):
                yield f'the update is {update.state}, and the master runs {master}'
        case 'FAILED_ROLLED_BACK' | 'ABORTED':
            if master != update.old_digest:
                yield f'the update is {update.state}, and the master runs {master}'
        case 'FAILED_DEGRADED':
            if master not in (update.digest, update.old_digest):
                yield f'the update is {update.state}, and the master runs {master}'
    if update.state in WHOLE:
        for node, row in facts.nodes.items():
            if not row.ready or row.running_digest != digests[node]:
                yield f'the update is {update.state}, and {node} is not ready, or not what its row says: {row}'


def _last_transition(facts: Facts) -> str:
    return next((line.detail for line in reversed(facts.journal) if line.to_state), '')


def no_secret_is_told(facts: Facts) -> Iterator[str]:
    """No log, no console and no row that many may read holds a secret."""
    yield from facts.told


RULES = (
    one_at_a_time,
    who_serves_leads,
    epochs_rise,
    wipes_are_granted,
    a_system_is_left,
    disks_are_what_they_say,
    transitions_are_told_once,
    finals_have_evidence,
    no_second_wipe_before_the_proof,
    the_end_is_as_it_says,
    no_secret_is_told,
)
