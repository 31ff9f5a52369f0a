"""An update in words, before and after: what would be done, what each failure leads to, and what to do next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ovca.backup.aftermath import RESTORED
from ovca.image.version import ImageVersion
from ovca.remaster.directives import Kind
from ovca.remaster.observe import Limits
from ovca.remaster.protocol import RULES, State
from ovca.remaster.views import DirectiveView, ImageView, UpdateView

NOT_BACK = tuple(rule.when for rule in RULES if rule.id in ('rollback-late', 'first-leads-late', 'second-leads-late'))
"""The reasons that end an update while the node to trust is away, and the other one leads."""


@dataclass(frozen=True)
class PlanStep:
    """One step: on which node, what is done there, and where its failure ends."""

    node: str
    text: str
    on_failure: str


@dataclass(frozen=True)
class Plan:
    """What an update is going to do."""

    version: str
    old_version: str | None
    first: str
    """The node installed first; it is the master in the end."""
    second: str
    steps: tuple[PlanStep, ...]
    remarks: tuple[str, ...] = ()
    retry_of: int | None = None

    @property
    def downgrade(self) -> bool:
        """Whether an older version replaces a newer one."""
        return self.old_version is not None and ImageVersion(self.version) < ImageVersion(self.old_version)

    def lines(self) -> list[str]:
        """The plan as an operator reads it."""
        what = f'{"Downgrade" if self.downgrade else "Update"} from {self.old_version or "?"} to'
        if self.retry_of:
            what = f'Retry of update {self.retry_of} to'
        width = max(len(s.node) for s in self.steps)
        result = [f'{what} {self.version}: {len(self.steps)} steps, {self.first} is the master after them.']
        for number, step in enumerate(self.steps, 1):
            result.append(f'  {number}. {step.node:<{width}}  {step.text}')
            result.append(f'     {"":<{width}}  else: {step.on_failure}')
        if self.downgrade:
            result.append(f'  {self.version} is older than {self.old_version}: both nodes go back to it.')
        return result + [f'  {remark}' for remark in self.remarks]


def make(
    image: ImageView,
    *,
    first: str,
    second: str,
    old_version: str | None,
    limits: Limits,
    proven: bool = False,
    retry_of: int | None = None,
    applied: Collection[str] = (),
) -> Plan:
    """Return the plan; with ``proven`` the first node runs the new software already.

    ``applied`` are the components of ``[remaster] components``.
    """
    new, old = image.version, old_version or 'the old software'
    tries = 'once' if limits.attempts == 1 else f'up to {limits.attempts} times'
    degraded = f'{second} goes on serving {old} alone ({State.FAILED_DEGRADED})'
    forward = f'{first} goes on serving {new} alone ({State.FAILED_FORWARD}); `ovca update-retry` finishes it'
    before = (
        PlanStep(first, f'wipe and install {new}, tried {tries}; {second} keeps serving', degraded),
        PlanStep(first, f'prove what it runs, and stay healthy for {limits.soak:g} s', degraded),
        PlanStep(second, f'hand over to {first} and reboot', f'{second} goes on serving {old}'),
        PlanStep(
            first,
            f'stay healthy as master for {limits.prove_soak:g} s; from then on there is no way back to {old}',
            f'{second} becomes master again with {old} ({State.FAILED_ROLLED_BACK})',
        ),
    )
    after = (
        PlanStep(second, f'wipe and install {new}, tried {tries}; {first} keeps serving', forward),
        PlanStep(second, f'prove what it runs, and stay healthy for {limits.soak:g} s', forward),
    )
    others = sorted(set(image.manifest.get('components') or ()) - {'mgmt'})
    remarks = tuple(
        f'{name}: applied after both nodes run it.' if name in applied else f'{name}: published, not applied.'
        for name in others
    )
    return Plan(new, old_version, first, second, after if proven else before + after, remarks, retry_of)


def halted(update: UpdateView, directives: Sequence[DirectiveView]) -> str | None:
    """Who has stopped the update, since when, and how it goes on; None when nobody has.

    Neither a roll-back nor an abort waits for anybody, whatever was asked for before.
    """
    if update.state.ended or update.state is State.ROLLBACK or update.abort_requested_at is not None:
        return None
    go_on = 'continue with `ovca update-continue`'
    pause = given(directives, Kind.PAUSE)
    if pause is not None:
        return f'paused by {_who(pause)}: {go_on}'
    hold = given(directives, Kind.HOLD)
    if hold is not None and update.state is State.PROVING:
        return f'paused before the commit point by {_who(hold)}: {go_on}'
    return None


def to_stop(update: UpdateView, directives: Sequence[DirectiveView]) -> str | None:
    """Who wants the update to stop before its commit point, which it has not come to; None if nobody does."""
    hold = given(directives, Kind.HOLD)
    over = update.state.ended or update.state is State.ROLLBACK or update.abort_requested_at is not None
    if hold is None or update.proven_at is not None or over:
        return None
    return f'it stops before the commit point, as {hold.created_by or "an operator"} asked'


def given(directives: Sequence[DirectiveView], kind: Kind) -> DirectiveView | None:
    """The decision of this kind that holds now."""
    return next((d for d in reversed(directives) if d.kind == kind and d.lifted_at is None), None)


def _who(row: DirectiveView) -> str:
    why = f' ({row.detail})' if row.detail else ''
    return f'{row.created_by or "an operator"} since {row.created_at:%Y-%m-%d %H:%M:%SZ}{why}'


def next_step(update: UpdateView) -> str:
    """What an operator does now, given how the update stands."""
    retry = '`ovca update-retry`'
    if update.reinstalls and update.state is not State.DONE and update.state.ended:
        return f'mend what the reason names, then repeat `ovca node-reinstall {update.second}`'
    if (alone := _serves_alone(update)) is not None:
        return alone
    match update.state:
        case State.DONE:
            return 'nothing is to be done'
        case State.ABORTED if update.reason == RESTORED:
            return (
                'if the nodes run two versions, as `ovca node-list` shows, give the standby what the master runs with '
                f'`ovca node-reinstall`; then repeat `ovca activate {update.version}`'
            )
        case State.ABORTED:
            return f'mend what the reason names, then repeat `ovca activate {update.version}`'
        case State.FAILED_DEGRADED:
            return (
                f'{update.second} is the node to trust; when the cause is mended, install {update.first} again with '
                f'{retry} on {update.second}'
            )
        case State.FAILED_ROLLED_BACK:
            return (
                f'{update.old_version or "the old software"} serves again, {update.first} is quarantined; make the '
                f'appliance whole with `ovca node-reinstall {update.first}`, or try it again with {retry}'
            )
        case State.FAILED_FORWARD:
            return f'{update.version} is proven and serves; mend {update.second}, then finish with {retry}'
    return f'it goes on by itself; `ovca update-watch {update.id}` follows it'


def _serves_alone(update: UpdateView) -> str | None:
    """What follows an end in which the node to trust is the one that was not there."""
    if not update.state.ended or not (update.reason or '').startswith(NOT_BACK):
        return None
    if update.state is State.FAILED_FORWARD:
        serves, away = update.second, update.first
        then = f'bring {away}, which is proven, back, and finish with `ovca update-retry`'
    else:
        serves, away = update.first, update.second
        then = (
            f'when {away} is healthy and ready, it leads by itself, and {serves} is installed again with '
            f'`ovca update-retry` on {away}'
        )
    return (
        f'{serves} serves alone, as {away} is not back: {then}; if its machine is dead, put another in its place with '
        f'`ovca node-replace {away}` on {serves}'
    )


def error_id(state: State) -> str:
    """The id under which the end of an update that did not reach both nodes is explained: the state, in small."""
    return state.value.lower().replace('_', '-')


def ending(update: UpdateView) -> str:
    """One sentence on how the update ended."""
    if update.state is State.DONE:
        return f'update {update.id} is done: both nodes run {update.version}'
    if update.reinstalls:
        why = update.reason or 'no reason was recorded'
        return (
            f'the installation of {update.second} with {update.version} (run {update.id}) ended {update.state}: {why}'
        )
    return f'update {update.id} to {update.version} ended {update.state}: {update.reason or "no reason was recorded"}'
