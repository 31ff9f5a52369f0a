"""A node's site settings as an operator sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.exceptions import ProvisionError, UsageError
from ovca.provision.site.state import SiteState, load

if TYPE_CHECKING:
    from oslo_config import cfg

NOT_CARRIED = 'not carried over'
UNKNOWN = 'not known'


@dataclass(frozen=True)
class SiteRow:
    """An item, a file of one, or a file that a wipe would lose."""

    node: str
    item: str | None
    state: str
    files: int | None
    path: str | None
    detail: str
    last_install: str | None
    saved_at: str


def rows(conf: cfg.ConfigOpts, node: str, *, files: bool = False) -> list[SiteRow]:
    """The items, with their ``files`` if wanted, then what would be lost.

    :raises UsageError: it is no management node. :raises ProvisionError: nothing was saved of it, or it cannot be read.
    """
    pair = [name for name in (conf.cluster.node_name, conf.cluster.peer) if name]
    try:
        return list(_rows(load(Path(conf.image.shared_storage), node), files))
    except ProvisionError as exc:
        if exc.id != 'no-site-files' or node in pair:
            raise
        known = ', '.join(pair)
        raise UsageError(
            f'nothing was saved of {node!r}, which is no management node; known are: {known}', id='no-node'
        ) from None


def _rows(state: SiteState, files: bool) -> Iterator[SiteRow]:
    when = state.looked_at[:19] + 'Z'
    past = {row['name']: _past(row) for row in state.report.get('items', ())}
    for item in state.items:
        own = state.item_files(item.name)
        notes = '; '.join(f'{what}: {note}' for what, note in sorted(item.notes.items()))
        detail = '; '.join(filter(None, (item.detail, notes)))
        yield SiteRow(state.node, item.name, item.outcome, len(own), None, detail, past.get(item.name), when)
        for file in own if files else ():
            about = f'{len(file.content)} bytes, mode {file.mode:04o}, {file.owner}:{file.group}'
            yield SiteRow(state.node, item.name, item.outcome, None, file.path, about, None, when)
    for name, outcome in past.items():
        if name not in {item.name for item in state.items}:
            yield SiteRow(state.node, name, 'no item of this system', 0, None, '', outcome, when)
    for loss in state.losses:
        yield SiteRow(state.node, None, NOT_CARRIED, None, loss.path, f'{loss.why} since the installation', None, when)
    if more := state.losses_total - len(state.losses):
        yield SiteRow(state.node, None, NOT_CARRIED, more, None, 'more files', None, when)
    if state.compared:
        yield SiteRow(state.node, None, UNKNOWN, None, None, f'what would be lost: {state.compared}', None, when)
    for path in state.report.get('lost', ()):
        yield SiteRow(state.node, None, 'lost', None, str(path), 'in the last installation', None, when)


def _past(row: dict[str, Any]) -> str:
    detail = row.get('detail')
    return f'{row["outcome"]}: {detail}' if row['outcome'] == 'failed' and detail else str(row['outcome'])
