"""The nodes as operators keep them: added, changed, deleted; and what forbids it.

A node describes itself when its service starts. What stands here is for the rest: machines that run no service, and the
BMC and network card of a node that the configuration does not name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.cluster.nodes import mac_form, silent_after
from ovca.db import events
from ovca.db.engine import now as database_now
from ovca.db.models import Entry, Image, Lease, Node
from ovca.exceptions import Refused, UsageError
from ovca.image.fetch import redacted
from ovca.remaster import conflicts, operations
from ovca.remaster.observe import newest_update

if TYPE_CHECKING:
    from oslo_config import cfg

KINDS = ('management', 'compute')
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,62}')
MAC = re.compile(r'[0-9a-f]{2}(:[0-9a-f]{2}){5}')


@dataclass(frozen=True)
class Facts:
    """What an operator says of a node, checked: None says nothing, an empty text clears.

    :raises UsageError: a value cannot be right.
    """

    kind: str | None = None
    bmc: str | None = None
    mac: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise UsageError(f'{self.kind!r} is not a kind of node; the kinds are {", ".join(KINDS)}', id='bad-kind')
        if self.bmc:
            _check_bmc(self.bmc)
        if self.mac:
            object.__setattr__(self, 'mac', mac_form(self.mac))
            if not MAC.fullmatch(self.mac):
                raise UsageError(
                    f'{self.mac!r} is not the address of a network card; write it as 52:54:00:00:00:01', id='bad-mac'
                )

    @property
    def given(self) -> dict[str, str]:
        """What is said."""
        return {name: value for name, value in vars(self).items() if value is not None}


def check_name(name: str) -> str:
    """Return the name. :raises UsageError: it is none."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f'{name!r} is not a name for a node; use letters, digits and . _ -, at most 63 of them', id='bad-node-name'
        )
    return name


def _check_bmc(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        good = bool(parts.scheme and parts.hostname and uri.isprintable() and ' ' not in uri) and parts.port != 0
    except ValueError:
        parts, good = urlsplit(''), False
    if '@' in uri or (good and (parts.query or parts.fragment)):
        # The value itself is not repeated: it may hold a password.
        raise UsageError(
            "a BMC's URI holds no user, password or query: others can read it; set [power] user and password_file",
            id='bmc-password',
        )
    if not good:
        raise UsageError(
            f'{uri!r} is not the URI of a BMC; write it as https://192.0.2.21/redfish/v1/Systems/1', id='bad-bmc'
        )


def add(session: Session, conf: cfg.ConfigOpts, name: str, facts: Facts, *, who: str, epoch: int) -> None:
    """Add a node; one that is there with the same facts is left alone.

    :raises Refused: the name, the BMC or the card belongs to another one.
    """
    wanted = {'kind': 'management', 'bmc': '', 'mac': '', **facts.given}
    row = session.get(Node, check_name(name))
    if row is not None:
        if wanted != {'kind': row.kind, 'bmc': row.bmc or '', 'mac': row.mac or ''}:
            raise Refused(f'node {name} is there already; change it with `ovca node-set {name}`', id='node-exists')
        return
    _check_free(session, conf, name, facts)
    session.add(
        Node(
            name=name,
            kind=wanted['kind'],
            bmc=wanted['bmc'] or None,
            mac=wanted['mac'] or None,
            health='unknown',
            epoch_seen=0,
            power_orders=0,
        )
    )
    _tell(session, name, f'{name} was added ({wanted["kind"]})', who, epoch)


def change(session: Session, conf: cfg.ConfigOpts, name: str, facts: Facts, *, who: str, epoch: int) -> None:
    """Change what is said of a node; repeating it changes nothing.

    :raises UsageError: there is no such node. :raises Refused: the present state forbids it.
    """
    check_change(session, conf, name, facts)
    changed = put(session.get_one(Node, name), facts)
    if changed:
        _tell(session, name, f'{name} was changed: {", ".join(changed)}', who, epoch)


def put(row: Node, facts: Facts) -> list[str]:
    """Write what is said into a node's row; return what that changed."""
    changed = []
    for field, value in facts.given.items():
        if (getattr(row, field) or '') != value:
            setattr(row, field, value or None)
            changed.append(f'{field} {"is" if value else "was"} {value or "cleared"}')
    return changed


def check_replace(session: Session, conf: cfg.ConfigOpts, name: str, facts: Facts) -> None:
    """Let the replacement of a machine pass. :raises Refused: the node is alive, or its BMC or card are another's."""
    row = session.get_one(Node, name)
    lease = session.scalars(select(Lease).limit(1)).one_or_none()
    age = (database_now(session) - row.last_seen_at).total_seconds() if row.last_seen_at else None
    refuse_alive(
        name, here=conf.cluster.node_name, holder=lease.holder if lease else None, age=age, limit=silent_after(conf)
    )
    _check_free(session, conf, name, facts)


def check_change(session: Session, conf: cfg.ConfigOpts, name: str, facts: Facts) -> None:
    """Let a change pass. :raises UsageError: there is no such node. :raises Refused: it is not possible now."""
    row = session.get(Node, name)
    if row is None:
        raise UsageError(f'there is no node {name!r}; see `ovca node-list`', id='no-node')
    if row.kind == 'management':
        _not_while_open(session, name, 'changed', 'a change')
    if facts.kind not in (None, 'management') and name in (conf.cluster.node_name, conf.cluster.peer):
        raise Refused(
            f'{name} is one of the two management nodes in [cluster]; its kind stays management', id='node-configured'
        )
    _check_free(session, conf, name, facts)


def delete(session: Session, conf: cfg.ConfigOpts, name: str, *, who: str, epoch: int) -> None:
    """Forget a node; one that is gone already is no error. :raises Refused: it is alive, or needed."""
    row = session.get(Node, name)
    if row is None:
        return
    check_delete(session, conf, name)
    session.delete(row)
    _tell(session, name, f'{name} was deleted', who, epoch)


def check_delete(session: Session, conf: cfg.ConfigOpts, name: str) -> None:
    """Let a deletion pass. :raises Refused: the node is alive, or needed."""
    row = session.get_one(Node, name)
    lease = session.scalars(select(Lease).limit(1)).one_or_none()
    age = (database_now(session) - row.last_seen_at).total_seconds() if row.last_seen_at else None
    refuse_alive(
        name, here=conf.cluster.node_name, holder=lease.holder if lease else None, age=age, limit=silent_after(conf)
    )
    update = newest_update(session)
    if row.kind == 'management' or (update is not None and session.get(Entry, (update.id, name)) is not None):
        _not_while_open(session, name, 'deleted', 'the deletion')


def refuse_alive(name: str, *, here: str, holder: str | None, age: float | None, limit: float) -> None:
    """Refuse to forget a node that would be there again. :raises Refused: it would."""
    if name == holder:
        raise Refused(f'{name} is master; hand over first, or delete the node on the next master', id='node-is-master')
    if name == here:
        raise Refused(f'{name} is this node; delete it on the other one', id='node-is-here')
    if age is not None and -limit <= age <= limit:  # what is further ahead is of a clock that was put back
        raise Refused(
            f'{name} was seen {max(0.0, age):.0f} s ago: it is alive; stop its ovca.service first, then wait for '
            f'{limit:.0f} s',
            id='node-alive',
        )


def running_image(session: Session, node: str, digest: str | None) -> Image:
    """The published image that a node runs. :raises Refused: it is not there."""
    query = select(Image).where(Image.digest == digest).limit(1)
    image = session.scalars(query).one_or_none() if digest else None
    if image is None:
        raise Refused(
            f'the image that {node} runs is not published on the shared storage, and a node can be installed only from '
            f'there; take it up with `ovca image-adopt` if it lies there (`ovca check unknown-images`), or fetch it '
            f'with `ovca download`; see `ovca node-show {node}`',
            id='no-running-image',
        )
    return image


def _not_while_open(session: Session, name: str, what: str, noun: str) -> None:
    opened = conflicts.opened(session)
    if opened is not None:
        raise Refused(
            f'{name} cannot be {what}: {opened}, and names and order are pinned when it starts; wait for its end with '
            f'`ovca update-watch`',
            id='node-pinned',
        )
    operations.refuse_held(session, f'{noun} of {name}')


def _check_free(session: Session, conf: cfg.ConfigOpts, name: str, facts: Facts) -> None:
    """A BMC or a card that stands for two machines would power off, or wipe, the wrong one."""
    rows = list(session.scalars(select(Node)))
    bmcs = {**{row.name: row.bmc for row in rows}, **(conf.power.bmc or {})}
    macs = {**{row.name: row.mac for row in rows}, **(conf.provision.mac or {})}
    for what, value, taken, form in (('BMC', facts.bmc, bmcs, _bmc_form), ('card', facts.mac, macs, mac_form)):
        owner = next(
            (n for n, other in taken.items() if n != name and other and form(other) == form(value or '')), None
        )
        if owner is not None:
            raise Refused(f'the {what} {value} belongs to {owner}; see `ovca node-show {owner}`', id='node-address')


def _bmc_form(uri: str) -> str:
    return redacted(uri).rstrip('/').lower()


def unheard(facts: Facts, name: str, configured: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is said of a node and does not count, because the configuration says it too, as names of options."""
    return [
        option
        for option, value in (('[power] bmc', facts.bmc), ('[provision] mac', facts.mac))
        if value is not None and name in configured[option]
    ]


def _tell(session: Session, name: str, detail: str, who: str, epoch: int) -> None:
    events.append(session, kind='node', node=name, actor=who, epoch=epoch, detail=detail)
