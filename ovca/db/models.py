"""The tables: every fact of the protocol that must outlive a node.

Times are UTC and come from the *database's* clock. Secrets are stored hashed. Tables are read by explicit columns, so
software of one revision works on the schema of the next.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, Dialect, ForeignKey, Index, Integer, String, Text, UniqueConstraint, or_, text
from sqlalchemy import DateTime as SaDateTime
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import Double, TypeDecorator


class UTCDateTime(TypeDecorator[dt.datetime]):
    """A time stamp that is aware and UTC on every engine; SQLite on its own drops the zone."""

    impl = SaDateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError('a time without a zone cannot be stored')
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def storable(text: str) -> str:
    """The text with what no database takes escaped: bytes that are no UTF-8 (PEP 383), and NUL."""
    return text.encode(errors='backslashreplace').decode().replace('\0', '\\x00')


class Told(TypeDecorator[str]):
    """What people read, whoever has written it: an operator in another locale, a server, a file's name.

    What cannot be stored is stored escaped, as :func:`storable` has it: what happened must be told all the same.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class ToldShort(TypeDecorator[str]):
    """The same in a column of bounded length, to which it is cut."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)[: cast(String, self.impl_instance).length]


class Base(DeclarativeBase):
    # float: SQLAlchemy 2.0 by itself would take FLOAT, and 2.1 takes DOUBLE.
    type_annotation_map = {dt.datetime: UTCDateTime, dict[str, Any]: JSON, float: Double}


BigId = BigInteger().with_variant(Integer, 'sqlite')  # SQLite counts up INTEGER keys only


class Lease(Base):
    """Who is master. One row; its epoch only ever grows, by one with each claim or hand-over."""

    __tablename__ = 'lease'

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str | None] = mapped_column(String(255))
    incarnation: Mapped[str | None] = mapped_column(String(64))
    """The run of the holder's service that owns this epoch."""
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    acting: Mapped[bool] = mapped_column(default=False)
    fence_proof: Mapped[str | None] = mapped_column(Told)
    """How this holder knows that the previous one cannot act."""
    demoted_epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    """The newest epoch whose holder has said, for good, that it serves no more."""
    renewed_at: Mapped[dt.datetime | None]
    ttl: Mapped[float] = mapped_column(default=30.0)


class Node(Base):
    """A machine as it describes itself; only the node writes its row, but for quarantine, BMC, card and kind."""

    __tablename__ = 'node'

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), default='management')
    bmc: Mapped[str | None] = mapped_column(Text)
    mac: Mapped[str | None] = mapped_column(String(32))
    address: Mapped[str | None] = mapped_column(Text)
    boot_id: Mapped[str | None] = mapped_column(String(64))
    incarnation: Mapped[str | None] = mapped_column(String(64))
    running_version: Mapped[str | None] = mapped_column(String(128))
    running_digest: Mapped[str | None] = mapped_column(String(64))
    role: Mapped[str | None] = mapped_column(String(16))
    epoch_seen: Mapped[int] = mapped_column(BigInteger, default=0)
    health: Mapped[str] = mapped_column(String(16), default='unknown')
    health_detail: Mapped[dict[str, Any] | None]
    healthy_since: Mapped[dt.datetime | None]
    unhealthy_since: Mapped[dt.datetime | None]
    ready: Mapped[bool] = mapped_column(default=False)
    last_seen_at: Mapped[dt.datetime | None]
    quarantined: Mapped[bool] = mapped_column(default=False)
    quarantine_reason: Mapped[str | None] = mapped_column(Told)
    power_orders: Mapped[int] = mapped_column(default=0)
    """How often the master powered this node on outside an install since it was last seen."""
    power_ordered_at: Mapped[dt.datetime | None]


class Image(Base):
    """A published image. Inserting this row is the commit point of a download."""

    __tablename__ = 'image'

    version: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the ISO: the image's identity."""
    iso: Mapped[str] = mapped_column(Text)
    """The ISO's path below the shared storage."""
    size: Mapped[int] = mapped_column(BigInteger)
    files_digest: Mapped[str | None] = mapped_column(String(64))
    manifest: Mapped[dict[str, Any]]
    signed_by: Mapped[str | None] = mapped_column(Told)
    source: Mapped[str | None] = mapped_column(Told)
    published_at: Mapped[dt.datetime]


class Update(Base):
    """One run of the protocol. Names, order and digests are pinned when it starts."""

    __tablename__ = 'update'

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    state: Mapped[str] = mapped_column(String(32))
    revision: Mapped[int] = mapped_column(default=1)
    """Counts the changes of this row."""
    version: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(64))
    old_version: Mapped[str | None] = mapped_column(String(128))
    old_digest: Mapped[str | None] = mapped_column(String(64))
    first: Mapped[str] = mapped_column(String(255))
    """The node installed first: the standby at the start."""
    second: Mapped[str] = mapped_column(String(255))
    """The node installed second: the master at the start."""
    retry_of: Mapped[int | None] = mapped_column(ForeignKey('update.id'))
    created_at: Mapped[dt.datetime]
    created_by: Mapped[str] = mapped_column(Told, default='')
    state_since: Mapped[dt.datetime]
    deadline_from: Mapped[dt.datetime]
    """When the present state's (or attempt's) deadline began to run."""
    proven_at: Mapped[dt.datetime | None]
    abort_requested_at: Mapped[dt.datetime | None]
    abort_reason: Mapped[str | None] = mapped_column(Told)
    handovers: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None] = mapped_column(Told)
    finished_at: Mapped[dt.datetime | None]

    __table_args__ = (Index('ix_update_finished_at', 'finished_at'),)


class Entry(Base):
    """A node's record in an update: the message "install this version", and the proof that it was done."""

    __tablename__ = 'entry'

    update_id: Mapped[int] = mapped_column(ForeignKey('update.id'), primary_key=True)
    node: Mapped[str] = mapped_column(String(255), primary_key=True)
    version: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[dt.datetime]
    attempt: Mapped[int] = mapped_column(default=1)
    step: Mapped[str] = mapped_column(String(64), default='waiting')
    percent: Mapped[float | None]
    step_detail: Mapped[str | None] = mapped_column(Told)
    step_at: Mapped[dt.datetime]
    power_orders: Mapped[int] = mapped_column(default=0)
    power_ordered_at: Mapped[dt.datetime | None]
    final_at: Mapped[dt.datetime | None]
    final_attempt: Mapped[int | None]
    final_digest: Mapped[str | None] = mapped_column(String(64))
    final_boot_id: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (Index('ix_entry_node_final_at', 'node', 'final_at'),)


class InstallGrant(Base):
    """The right to wipe one node once. Its secrets are kept as SHA-256 only."""

    __tablename__ = 'install_grant'

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    update_id: Mapped[int] = mapped_column(ForeignKey('update.id'))
    node: Mapped[str] = mapped_column(String(255))
    attempt: Mapped[int]
    epoch: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))
    salt: Mapped[str] = mapped_column(String(64))
    issued_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]
    boot_token_hash: Mapped[str | None] = mapped_column(String(64))
    consumed_at: Mapped[dt.datetime | None]
    nonce_hash: Mapped[str | None] = mapped_column(String(64))
    evidence_hash: Mapped[str | None] = mapped_column(String(64))
    boot_id: Mapped[str | None] = mapped_column(String(64))
    written_at: Mapped[dt.datetime | None]
    failed: Mapped[str | None] = mapped_column(Told)
    revoked_at: Mapped[dt.datetime | None]

    __table_args__ = (
        UniqueConstraint('update_id', 'node', 'attempt', 'epoch'),
        Index('ix_install_grant_node_consumed_at', 'node', 'consumed_at'),
    )


class Event(Base):
    """What happened; appended in the transaction of the change it tells."""

    __tablename__ = 'event'

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    update_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    at: Mapped[dt.datetime] = mapped_column(index=True)
    node: Mapped[str | None] = mapped_column(String(255), index=True)
    actor: Mapped[str] = mapped_column(ToldShort(255))
    epoch: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(64), index=True)
    from_state: Mapped[str | None] = mapped_column(String(32))
    to_state: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Told, default='')


class Channel(Base):
    """The newest index that was seen of a channel; since revision 0002."""

    __tablename__ = 'channel'

    uri: Mapped[str] = mapped_column(Told, primary_key=True)
    """Without user, password and query."""
    serial: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[dt.datetime]


class Directive(Base):
    """What an operator has decided about an update: it holds until it is lifted; since revision 0003."""

    __tablename__ = 'directive'

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    update_id: Mapped[int] = mapped_column(ForeignKey('update.id'), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(ToldShort(255), default='')
    """What it is about, where the kind needs it: a check, a node."""
    detail: Mapped[str] = mapped_column(Told, default='')
    created_at: Mapped[dt.datetime]
    created_by: Mapped[str] = mapped_column(Told, default='')
    lifted_at: Mapped[dt.datetime | None]
    lifted_by: Mapped[str | None] = mapped_column(Told)


class Operation(Base):
    """Who does something that nothing else may disturb, since when and why; since revision 0003."""

    __tablename__ = 'operation'

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(Told)
    node: Mapped[str] = mapped_column(String(255))
    boot_id: Mapped[str] = mapped_column(String(64))
    pid: Mapped[int]
    why: Mapped[str] = mapped_column(Told, default='')
    taken_at: Mapped[dt.datetime]


UNFINISHED = ('open', 'running')
"""The states of a request that is not done yet."""


class Request(Base):
    """What an operator asks of the acting master's service."""

    __tablename__ = 'request'

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(32))
    args: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default='open', index=True)
    """``open``, ``running``, ``done`` or ``failed``."""
    created_at: Mapped[dt.datetime]
    created_by: Mapped[str] = mapped_column(Told, default='')
    taken_epoch: Mapped[int | None] = mapped_column(BigInteger)
    progress: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    """What came of it; of a failed one the error's id, as ``error_id``."""
    error: Mapped[str | None] = mapped_column(Told)
    exit_code: Mapped[int | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    finished_at: Mapped[dt.datetime | None]


WAITING = or_(*(Request.state == state for state in UNFINISHED))
"""A request is not finished. For what is asked all the time: a list's SQL is written anew each time."""


def add_partial_indexes() -> None:
    """Complete the tables' description for migrations: at most one update is open.

    Such an index makes SQLAlchemy import the dialects of both engines, a tenth of the time of a short command.
    """
    table = Base.metadata.tables['update']
    if all(index.name != 'ix_update_open' for index in table.indexes):
        condition = text('finished_at IS NULL')
        columns = [text('(1)')]
        index = Index('ix_update_open', *columns, unique=True, sqlite_where=condition, postgresql_where=condition)
        index.table = table  # as the text names no column, it does not find its table by itself
        table.indexes.add(index)
