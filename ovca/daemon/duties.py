"""What the acting master does for each kind of request; all of it may be repeated, and is by the next master."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ovca.backup import safeguard
from ovca.cluster.lease import Lease
from ovca.daemon.images import Images
from ovca.daemon.reinstall import Reinstalls
from ovca.db import events
from ovca.db.models import Event, Image, Node, Request, Update
from ovca.exceptions import Refused, UsageError
from ovca.remaster import acceptance, checks, claims, conflicts, decisions, directives, inventory, locks, operations
from ovca.remaster.checks import CheckResult
from ovca.remaster.checks.patience import Patience
from ovca.remaster.decisions import Decider
from ovca.remaster.directives import Kind
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State, abort_landing

if TYPE_CHECKING:
    from oslo_config import cfg

BEGINNING = ('activate', 'retry', 'reinstall', 'replace')
"""What begins to wipe a node. An ``update`` begins with a download, which may take a day, and more than one master."""
FailOver = Callable[[int, str, Callable[[Session], None], str | None], str]
"""Hands over outside an update; :meth:`ovca.remaster.handover.HandOver.on_request`."""


class Duties:
    """The hands of the acting master's clerk."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        lease: Lease,
        *,
        epoch: Callable[[], int | None],
        changed: Callable[[], None],
        running: tuple[str | None, str | None],
        fail_over: FailOver,
        patience: Patience,
        run_checks: Callable[..., list[CheckResult]],
    ) -> None:
        self.conf, self.lease, self.database = conf, lease, lease.database
        self._changed, self.digest = changed, running[1]
        self.images = Images(conf, lease, epoch=epoch, running=running)
        self._patience = patience
        self.reinstalls = Reinstalls(conf, lease, digest=self.digest, changed=changed, patience=patience)
        self._fail_over, self._run_checks = fail_over, run_checks

    def carry_out(self, epoch: int, id: int, kind: str, args: dict[str, Any], who: str) -> dict[str, Any]:
        """Do what a request asks for, and return its result. :raises OvcaError: it is not done."""
        downgrade, accept = bool(args.get('allow_downgrade')), frozenset(args.get('accept') or ())
        hold = bool(args.get('pause_before_commit'))
        if kind in BEGINNING:
            self._still_wanted(epoch, id, kind)
        match kind:
            case 'download':
                return self.images.download(epoch, id, args, install=bool(args.get('to_install')))
            case 'activate':
                self._pair()
                return self._activate(epoch, id, args['version'], who, downgrade=downgrade, accept=accept, hold=hold)
            case 'update':
                self._pair()  # else all of it would be downloaded first
                got = self.images.download(epoch, id, args, install=True)
                self.images.heed(id)
                if 'up_to_date' in got:
                    return got
                opened = self._activate(epoch, id, got['version'], who, downgrade=downgrade, accept=accept, hold=hold)
                return {**got, **opened}
            case 'abort':
                return self._abort(epoch, id, args, who)
            case 'image-delete':
                return self.images.delete(epoch, id, args['versions'], who)
            case 'image-adopt':
                return self.images.adopt(epoch, id, args, who)
            case 'node-add' | 'node-set' | 'node-delete':
                return self._node(epoch, kind, args, who)
            case 'lock-break':
                return self._break(epoch, args, who)
            case 'retry':
                return self._retry(epoch, id, args, who)
        return self._decide(epoch, id, kind, args, who)

    def _decide(self, epoch: int, id: int, kind: str, args: dict[str, Any], who: str) -> dict[str, Any]:
        by, accept = Decider(who, self.lease.node, epoch, id), frozenset(args.get('accept') or ())
        match kind:
            case 'pause' | 'continue':
                with self.lease.fenced(epoch) as session:
                    pause = kind == 'pause'
                    update = (
                        decisions.pause(session, by, args.get('reason')) if pause else decisions.resume(session, by)
                    )
                    return {'update_id': update.id}
            case 'failover':
                self._in_time(epoch, id, args)
                return {
                    'master': self._fail_over(
                        epoch, who, lambda session: self._handed_over(session, id), args.get('reason')
                    )
                }
            case 'reinstall':
                number = self.reinstalls.reinstall(args['node'], by, reason=args.get('reason'), accept=accept)
                return {'update_id': number}
            case 'replace':
                facts = inventory.Facts(None, args.get('bmc'), args.get('mac'))
                number = self.reinstalls.replace(args['node'], facts, by, reason=args.get('reason'), accept=accept)
                return {'update_id': number}
            case claims.KIND:
                if args.get('node') == self.lease.node:
                    return {'master': self.lease.node}
                raise Refused(
                    f'{self.lease.node} is master and serves; there is nothing to take over', id='master-serves'
                )
        raise Refused(
            f'this service does not know requests of the kind {kind!r}; is the other node newer?', id='unknown-request'
        )

    def _pair(self) -> None:
        """Let an update pass where there are two nodes. :raises Refused: there is one."""
        if not self.conf.cluster.peer:
            raise Refused('there is no second management node to install; set [cluster] peer', id='no-second-node')

    def _still_wanted(self, epoch: int, id: int, kind: str) -> None:
        """Let an order pass that begins to wipe a node, if it may be what is wanted now: it may wait for a download.

        But when nobody led for a while, as in an outage of days, whoever asked for it has gone on to something else.

        :raises Refused: it has become stale.
        """
        with self.database.read() as session:
            row, now = session.get_one(Request, id), self.database.now(session)
            before = select(func.max(Event.epoch)).where(Event.kind == 'lease', Event.at <= row.created_at)
            asked_of: int | None = session.scalar(before)
        late = (now - row.created_at).total_seconds() > claims.VALID
        if late and asked_of is not None and asked_of < epoch:
            raise Refused(
                f'{kind} was asked for at {conflicts.stamp(row.created_at)}, more than {claims.VALID:.0f} seconds ago, '
                f'and the lease was taken anew since; nothing was done, see `ovca update-list` and ask again',
                id='order-expired',
            )

    def _in_time(self, epoch: int, id: int, args: dict[str, Any]) -> None:
        """Let an order to hand over pass that was given to this very master. :raises Refused: it has become stale."""
        with self.database.read() as session:
            row, now = session.get_one(Request, id), self.database.now(session)
        # Older software's commands name no epoch.
        if args.get('epoch', epoch) != epoch:
            raise Refused(
                f'the order to hand over was given under epoch {args["epoch"]} of the lease, and this is epoch '
                f'{epoch}; nothing was done, see `ovca master-show` and ask again',
                id='order-expired',
            )
        if (now - row.created_at).total_seconds() > claims.VALID:
            raise Refused(
                f'the order to hand over was given at {conflicts.stamp(row.created_at)}, more than {claims.VALID:.0f} '
                f'seconds ago; nothing was done, see `ovca master-show` and ask again',
                id='order-expired',
            )

    def _handed_over(self, session: Session, id: int) -> None:
        """In the transaction that gives the lease away: afterwards this node may write nothing."""
        row = session.get_one(Request, id)
        row.state, row.result, row.finished_at = 'done', {'master': self.conf.cluster.peer}, self.database.now(session)

    def _node(self, epoch: int, kind: str, args: dict[str, Any], who: str) -> dict[str, Any]:
        name = str(args['name'])
        facts = inventory.Facts(args.get('kind'), args.get('bmc'), args.get('mac'))
        with self.lease.fenced(epoch) as session:
            if kind == 'node-add':
                inventory.add(session, self.conf, name, facts, who=who, epoch=epoch)
            elif kind == 'node-set':
                inventory.change(session, self.conf, name, facts, who=who, epoch=epoch)
            else:
                inventory.delete(session, self.conf, name, who=who, epoch=epoch)
        return {'node': name}

    def _break(self, epoch: int, args: dict[str, Any], who: str) -> dict[str, Any]:
        name, since = str(args['name']), dt.datetime.fromisoformat(args['since'])
        certain, reason = bool(args.get('certain')), str(args.get('reason') or '')
        with self.lease.fenced(epoch) as session:
            locks.break_lock(
                session,
                name,
                since=since,
                certain=certain,
                here=self.lease.node,
                who=who,
                epoch=epoch,
                reason=reason,
            )
        return {'lock': name}

    # the update

    def _activate(
        self, epoch: int, id: int, version: str, who: str, *, downgrade: bool, accept: frozenset[str], hold: bool
    ) -> dict[str, Any]:
        with self.database.read() as session:
            open_now = conflicts.opened(session)
            operations.installable(session, version)
            if open_now is not None and hold:
                conflicts.heed_hold(session, open_now.id)
        if open_now is not None:
            return {'update_id': open_now.id}
        results = self._run_checks(
            self.conf, self.database, version, allow_downgrade=downgrade, patience=self._patience
        )
        accepted = acceptance.judged(results, acceptance.implied(accept, downgrade=downgrade))
        told = [{'id': r.id, 'result': r.result.value, 'detail': r.detail} for r in results]
        begun = self._begin(epoch, id, version, who, retry_of=None, accepted=accepted, hold=hold)
        return {**begun, 'checks': told}

    def _begin(
        self,
        epoch: int,
        id: int,
        version: str,
        who: str,
        *,
        retry_of: Update | None,
        accepted: Sequence[CheckResult],
        hold: bool = False,
    ) -> dict[str, Any]:
        """Make a backup, and open the update. :raises BackupError: there is none, and one is required."""
        saved = safeguard.before_update(self.conf, self.database, version, who)
        number = self._open(epoch, id, version, who, retry_of=retry_of, accepted=accepted, hold=hold, saved=saved.told)
        saved.belongs_to(number)
        return {'update_id': number, 'backup': saved.id}

    def _open(
        self,
        epoch: int,
        id: int,
        version: str,
        who: str,
        *,
        retry_of: Update | None,
        accepted: Sequence[CheckResult],
        hold: bool = False,
        saved: str,
    ) -> int:
        peer = self.conf.cluster.peer
        with self.lease.fenced(epoch) as session:
            operations.refuse(session, f'an update to {version}')
            image, own = session.get(Image, version), session.get(Node, self.lease.node)
            if image is None or own is None:
                raise UsageError(f'image {version} is not here; fetch it with `ovca download`', id='no-image')
            now = self.database.now(session)
            update = Update(
                state=State.REQUESTED.value,
                revision=1,
                version=version,
                digest=image.digest,
                old_version=own.running_version,
                old_digest=own.running_digest,
                first=peer,
                second=self.lease.node,
                created_at=now,
                created_by=who,
                state_since=now,
                deadline_from=now,
                handovers=0,
            )
            if retry_of is not None:
                update.retry_of = retry_of.id
                update.first, update.second = retry_of.first, retry_of.second
                update.old_version, update.old_digest = retry_of.old_version, retry_of.old_digest
                update.proven_at = retry_of.proven_at
            session.add(update)
            session.flush()
            decisions.note(session, Decider(who, self.lease.node, epoch, id), update)
            if hold:
                directives.give(session, update, Kind.HOLD, who)
            events.append(
                session,
                kind='state',
                update_id=update.id,
                node=self.lease.node,
                epoch=epoch,
                to_state=State.REQUESTED.value,
                detail=f'update to {version} asked for by {who}: {update.first} first, then {update.second}; {saved}',
            )
            acceptance.keep(session, update, accepted, who, node=self.lease.node, epoch=epoch)
            number = update.id
        self._changed()
        return number

    def _retry(self, epoch: int, id: int, args: dict[str, Any], who: str) -> dict[str, Any]:
        with self.database.read() as session:
            last = newest_update(session)
            if last is not None and last.finished_at is None and last.retry_of == args.get('update_id', -1):
                return {'update_id': last.id}  # it was begun already
            operations.refuse(session, 'a retry')
        if last is None or (args.get('update_id') and last.id != args['update_id']):
            raise Refused('only the last update can be retried; see `ovca update-list`', id='no-retry')
        if not checks.retryable(last):
            raise Refused(f'update {last.id} is {last.state}; only a failed update can be retried', id='no-retry')
        # Where a retry may start: the old software leads, or the proven node does. Else it could wipe the better node.
        proven = last.proven_at is not None
        wanted = (last.first, last.digest) if proven else (last.second, last.old_digest)
        if (self.lease.node, self.digest) != wanted:
            raise Refused(
                f'a retry of update {last.id} needs {wanted[0]} as master on '
                f'{last.version if proven else last.old_version}; see `ovca node-list`',
                id='retry-elsewhere',
            )
        results = checks.run_all(self.conf, self.database, last.version, retry=True, patience=self._patience)
        accepted = acceptance.judged(results, frozenset(args.get('accept') or ()))
        hold = bool(args.get('pause_before_commit'))
        return self._begin(epoch, id, last.version, who, retry_of=last, accepted=accepted, hold=hold)

    def _abort(self, epoch: int, id: int, args: dict[str, Any], who: str) -> dict[str, Any]:
        with self.lease.fenced(epoch) as session:
            update = session.get(Update, args['update_id'], with_for_update=True) if args.get('update_id') else None
            update = update or newest_update(session)
            if update is None:
                raise Refused('there is no update to abort', id='no-abort')
            landing = abort_landing(State(update.state), wiped=False)
            if not landing.possible:
                raise Refused(landing.sentence, id='no-abort')
            if update.abort_requested_at is None:
                update.abort_requested_at = self.database.now(session)
                update.abort_reason = args.get('reason') or f'asked for by {who}'
                update.revision += 1
                decisions.note(session, Decider(who, self.lease.node, epoch, id), update)
                events.append(
                    session,
                    kind='abort',
                    update_id=update.id,
                    actor=who,
                    epoch=epoch,
                    detail='an abort is asked for',
                )
            return {'update_id': update.id}
