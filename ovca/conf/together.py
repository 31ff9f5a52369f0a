"""What no single option can promise: how options must stand to each other, and why.

None of these options is changed by a reload: half of a change could break a rule that the whole of it keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A relation between options (``group.option``); ``why`` goes on a sentence that begins with their values."""

    options: tuple[str, ...]
    holds: Callable[..., bool]
    why: str
    remedy: str = ''


RULES = (
    Rule(
        ('cluster.renew_interval', 'cluster.self_demote', 'cluster.ttl'),
        lambda renew, demote, ttl: renew < demote < ttl,
        'must rise in this order, or two nodes could act as master',
    ),
    Rule(
        ('database.lock_timeout', 'database.idle_timeout', 'cluster.ttl'),
        lambda lock, idle, ttl: lock + idle < ttl,
        'do not fit: the first two together must be below the third, or a node that stops within a transaction '
        'could keep a healthy master from renewing its lease',
    ),
    Rule(
        ('database.statement_timeout', 'cluster.ttl'),
        lambda statement, ttl: statement < ttl,
        'do not fit: the first must be below the second, or one slow statement could outlast the lease',
    ),
    Rule(
        ('database.connect_timeout', 'cluster.ttl'),
        lambda connect, ttl: connect < ttl,
        'do not fit: the first must be below the second, or one lost connection could outlast the lease',
    ),
    Rule(
        ('remaster.ready_age', 'remaster.unhealthy_limit'),
        lambda age, limit: age < limit,
        'must rise in this order, or a report that is merely late would count as a failed node',
    ),
    Rule(
        ('remaster.soak', 'remaster.verify_deadline'),
        lambda soak, deadline: soak < deadline,
        'must rise in this order, or no installed node could be healthy for long enough in time',
    ),
    Rule(
        ('remaster.prove_soak', 'remaster.prove_deadline'),
        lambda soak, deadline: soak < deadline,
        'must rise in this order, or every update would roll back',
    ),
    Rule(
        ('remaster.order_interval', 'remaster.install_deadline'),
        lambda interval, deadline: interval < deadline,
        'must rise in this order, or a power order that was lost would never be repeated',
    ),
    Rule(
        ('cluster.boot_port', 'cluster.boot_tls_port'),
        lambda plain, tls: plain != tls,
        'must differ; two services cannot listen on one port',
    ),
    Rule(
        ('cluster.address', 'cluster.port', 'cluster.virtual_ip', 'cluster.boot_port', 'cluster.boot_tls_port'),
        lambda address, port, virtual, plain, tls: address != virtual.partition('/')[0] or port not in (plain, tls),
        'do not fit: on one address each service needs a port of its own',
    ),
    Rule(
        ('cluster.peer', 'cluster.node_name'),
        lambda peer, name: not peer or peer != name,
        "do not fit: the peer is this node's own name",
        'name the other node',
    ),
)
