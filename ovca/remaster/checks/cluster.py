"""Checks of the rows: the nodes, who is master, and what else is going on."""

from __future__ import annotations

from typing import Any

from ovca.cluster.nodes import silent_after
from ovca.db.engine import now as database_now
from ovca.db.models import Lease, Node, Operation
from ovca.remaster import conflicts, operations
from ovca.remaster.checks import Check, CheckContext, CheckResult
from ovca.remaster.conflicts import stamp
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State


class Nodes(Check):
    """Both management nodes are up, healthy, and on one version."""

    id = 'nodes'

    def check(self) -> CheckResult:
        cluster = self.context.conf.cluster
        with self.context.database.read() as session:
            now = database_now(session)
            nodes = [session.get(Node, name) for name in (cluster.node_name, cluster.peer) if name]
            opened, last = conflicts.opened(session), newest_update(session)
        if len(nodes) < 2:
            return self.failed('there is no second management node', 'set [cluster] peer')
        bad, facts = [], {}
        for name, node in zip((cluster.node_name, cluster.peer), nodes, strict=True):
            facts[name] = _node(node)
            if node is None or node.last_seen_at is None:
                bad.append(f'{name} was never seen')
            elif (now - node.last_seen_at).total_seconds() > silent_after(self.context.conf):
                bad.append(f'{name} was last seen {node.last_seen_at:%Y-%m-%dT%H:%M:%SZ}')
            elif node.health != 'healthy':
                why = '; '.join(f'{k}: {v}' for k, v in (node.health_detail or {}).items())
                bad.append(f'{name} is {node.health}' + (f' ({why})' if why else ''))
        if bad and self.context.retry and all(b.startswith(f'{cluster.peer} ') for b in bad):
            return self.skipped(f'{"; ".join(bad)}; a retry re-installs it', facts)
        if bad:
            return self.failed(
                '; '.join(bad), 'see `ovca node-list`; start ovca.service on the node, mend what it names', facts
            )
        versions = {node.running_digest: node.running_version for node in nodes if node}
        if len(versions) > 1 and not self.context.retry:
            names = ' and '.join(sorted(str(v) for v in versions.values()))
            if opened is not None:
                remedy = f'wait for the end of update {opened.id}: `ovca update-watch`'
            else:
                alike = f'give {cluster.peer} what {cluster.node_name} runs: `ovca node-reinstall {cluster.peer}`'
                failed = last is not None and last.state not in (State.DONE, State.ABORTED)
                remedy = f'go on with the last update: `ovca update-retry`; or {alike}' if failed else alike
            return self.failed(f'the nodes run {names}', remedy, facts)
        return self.passed(f'{cluster.node_name} and {cluster.peer} are healthy', facts)


def _node(node: Node | None) -> dict[str, Any]:
    return {
        'health': node.health if node else None,
        'version': node.running_version if node else None,
        'digest': node.running_digest if node else None,
        'last_seen_at': f'{node.last_seen_at:%Y-%m-%dT%H:%M:%SZ}' if node and node.last_seen_at else None,
    }


class LeaseHeld(Check):
    """A node acts as master, and no other update is open."""

    id = 'lease'

    def __init__(self, context: CheckContext, *, in_update: bool = False) -> None:
        """``in_update`` says that the open update itself asks."""
        super().__init__(context)
        self._in_update = in_update

    def check(self) -> CheckResult:
        with self.context.database.read() as session:
            row = session.query(Lease).first()
            update = newest_update(session)
            opened = update if update and not State(update.state).ended else None
        facts = {
            'holder': row.holder if row else None,
            'epoch': row.epoch if row else None,
            'acting': bool(row and row.acting),
            'open_update': opened.id if opened else None,
        }
        if row is None or not row.acting:
            return self.failed('no node acts as master', 'see `ovca master-show`, and the log of ovca.service', facts)
        if opened is not None and opened.state != State.REQUESTED and not self._in_update:
            return self.failed(
                f'update {opened.id} to {opened.version} is open ({opened.state})',
                'follow it with `ovca update-watch`, or end it with `ovca update-abort`',
                facts,
            )
        return self.passed(f'{row.holder} is master, epoch {row.epoch}', facts)


class NoOperation(Check):
    """Nobody does anything that an update would disturb."""

    id = 'operation'

    def check(self) -> CheckResult:
        with self.context.database.read() as session:
            if not operations.known(session):
                return self.skipped('the schema is that of older software, which notes no operations')
            held = operations.rows(session)
        facts = {'operations': [_operation(row) for row in held]}
        if not held:
            return self.passed('no other operation is under way', facts)
        told = [
            '{name} by {owner} on {node} since {since}'.format(**each) + (f' ({each["why"]})' if each['why'] else '')
            for each in facts['operations']
        ]
        remedy = 'wait for its end; `ovca lock-list` shows whether it still goes on'
        return self.failed('; '.join(told), remedy, facts)


def _operation(row: Operation) -> dict[str, str]:
    return {
        'name': row.name,
        'owner': row.owner,
        'node': row.node,
        'since': stamp(row.taken_at),
        'why': row.why,
    }
