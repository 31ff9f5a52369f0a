"""Whether a wipe would lose what an operator set by hand: the check ``site``, and a line for the plan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from ovca.db.models import Node
from ovca.exceptions import ProvisionError
from ovca.image.names import shown
from ovca.provision.site.state import FAILED, SiteState, load
from ovca.remaster.checks import Check, CheckResult
from ovca.remaster.conflicts import stamp

if TYPE_CHECKING:
    from oslo_config import cfg

OLD = 3600.0
"""Seconds after which a node that runs must have looked at its settings anew; it does so each minute."""
FEW = 3
"""So many lost files are named in one line."""


@dataclass(frozen=True)
class Prospect:
    """What a wipe of one node would do to its site settings."""

    node: str
    lost: int = 0
    first: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unknown: str = ''
    """Why it is not known what would be lost."""
    stale: str = ''
    """Since when it has not saved what it may have been set to."""
    problem: str = ''
    """Why nothing could be put back."""

    @property
    def good(self) -> bool:
        """Whether nothing would be lost, as far as is known."""
        return not (self.lost or self.failed or self.problem or self.unknown or self.stale)

    def __str__(self) -> str:
        if self.problem:
            return f'{self.node}: {self.problem}'
        parts = []
        if self.failed:
            parts.append(f'the site items {", ".join(self.failed)} could not be saved')
        if self.lost:
            more = ' and others' if self.lost > len(self.first) else ''
            files = 'file' if self.lost == 1 else 'files'
            parts.append(f'{self.lost} {files} would not be carried over: {", ".join(self.first)}{more}')
        if self.unknown:
            parts.append(f'which files would not be carried over is not known: {self.unknown}')
        if self.stale:
            parts.append(self.stale)
        return f'{self.node}: {"; ".join(parts) or "all site settings are saved"}'


def prospect(state: SiteState, seen: dt.datetime | None = None) -> Prospect:
    """Judge a saved state; ``seen`` is when the node was last seen to run."""
    return Prospect(
        state.node,
        lost=state.losses_total,
        first=tuple(shown(loss.path) for loss in state.losses[:FEW]),
        failed=tuple(item.name for item in state.items if item.outcome == FAILED),
        unknown=state.compared,
        stale=_stale(state, seen),
    )


def _stale(state: SiteState, seen: dt.datetime | None) -> str:
    """What is to be said when a node has run on without saving; that of one which does not run may be as old."""
    of_before = state.version is None and not state.installation  # software of before site items tells no such time
    if seen is None or not state.looked_at or of_before:
        return ''
    last = dt.datetime.fromisoformat(state.looked_at)
    if (seen - last).total_seconds() <= OLD:
        return ''
    return f'its settings are those of {stamp(last)}, and it has run until {stamp(seen)}: it does not save them'


def prospects(
    conf: cfg.ConfigOpts, nodes: Sequence[str], seen: Mapping[str, dt.datetime | None] | None = None
) -> list[Prospect]:
    """What a wipe would do to each of the nodes; what cannot be read is a problem of that node.

    ``seen`` tells when each of them was last seen to run.
    """
    found = []
    for node in nodes:
        try:
            found.append(prospect(load(Path(conf.image.shared_storage), node), (seen or {}).get(node)))
        except ProvisionError as exc:
            found.append(Prospect(node, problem=str(exc).partition('; ')[0]))
    return found


class SiteSettings(Check):
    """The site settings of both nodes are saved, and nothing would be lost in a wipe."""

    id = 'site'

    def check(self) -> CheckResult:
        cluster = self.context.conf.cluster
        with self.context.database.read() as session:
            seen = {node.name: node.last_seen_at for node in session.scalars(select(Node))}
        found = prospects(self.context.conf, [name for name in (cluster.node_name, cluster.peer) if name], seen)
        bad = [each for each in found if not each.good]
        if not bad:
            return self.passed(f'all site settings of {" and ".join(each.node for each in found)} are saved')
        detail = '; '.join(map(str, bad))
        if any(each.problem for each in bad):
            return self.warning(detail, 'start ovca.service on that node, and see `ovca help no-site-files`')
        if any(each.stale for each in bad):
            return self.warning(detail, 'see `ovca event-list --kind alarm` and `ovca help site-files`')
        return self.warning(
            detail,
            'see `ovca site-show`; add what is to stay to [provision] site_files, what nobody misses to site_ignore; '
            'a node looks anew every minute',
        )
