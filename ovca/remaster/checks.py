"""What must hold before an update touches anything; entry-point group ``ovca.check``."""

from __future__ import annotations

import enum
import logging
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca import plugins
from ovca.cluster.nodes import power_of
from ovca.db.engine import Database
from ovca.db.engine import now as database_now
from ovca.db.models import Image, Lease, Node, Update
from ovca.exceptions import OvcaError
from ovca.image import route
from ovca.image.route import Terms
from ovca.power.base import PowerState
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ['Check', 'CheckContext', 'CheckResult', 'Result']

LOG = logging.getLogger(__name__)
GROUP = 'ovca.check'
CORE = ('nodes', 'lease', 'version-path', 'image', 'bmc', 'space', 'site')
AGAIN = 'mend this, then run `ovca check` again'


class Result(enum.StrEnum):
    """How a check ended."""

    PASSED = 'passed'
    WARNING = 'warning'
    FAILED = 'failed'
    SKIPPED = 'skipped'


@dataclass(frozen=True)
class CheckResult:
    """One check's answer: the facts, and what to do."""

    id: str
    result: Result
    detail: str
    remedy: str = ''


@dataclass(frozen=True)
class CheckContext:
    """What a check may look at."""

    conf: cfg.ConfigOpts
    database: Database
    version: str | None
    """The version to install; None checks the appliance alone."""
    retry: bool = False
    """The update retries a failed one: the nodes may run different software."""
    allow_downgrade: bool = False
    """The operator asked for an older version than the one that runs."""


class Check(ABC):
    """One condition that must hold before an update touches anything; entry-point group ``ovca.check``.

    A driver sets :attr:`id` to its entry point's name, which is what an operator writes into ``[check] enabled``, and
    writes :meth:`check`, which returns :meth:`passed`, :meth:`warning`, :meth:`failed` or :meth:`skipped`.

    *When it is called.* A check is built and called anew each time, with a :class:`CheckContext` of that moment: by
    ``ovca check`` and ``ovca activate`` in the operator's own process; by the acting master's ovcad when an update is
    asked for; and by it once more as the update begins. ``context.version`` is the image to install, or None when the
    appliance alone is looked at; a check that needs an image is then :meth:`skipped`. ovcad imports the class at its
    start, on each node whose configuration names it.

    *From which thread.* From any, the checks of one run one after the other.

    *How long it may take.* Seconds; somebody waits for the answer, and nothing else is decided meanwhile. What must be
    measured for longer belongs into a health check.

    *What the answer means.* A failed check refuses the update before anything was changed. A warning is shown, and the
    update goes on. Give the facts in ``detail`` and what to do in ``remedy``: half a sentence each, with names and
    numbers. An ``OvcaError`` or ``OSError`` counts as failed, with its text as the detail and "mend this, then run
    ``ovca check`` again" as the remedy, so the text says what to mend; any other exception as well, with its type.

    *What must be idempotent.* All of it: a check looks and changes nothing, however often it is called.

    .. code-block:: python

        class Racks(Check):
            api = 1
            id = 'racks'

            def check(self) -> CheckResult:
                open_doors = doors()
                if open_doors:
                    return self.failed(f'rack doors {open_doors} are open', 'close them')
                return self.passed('all rack doors are closed')
    """

    api: ClassVar[int] = 1
    id = ''
    """The entry point's name."""

    def __init__(self, context: CheckContext) -> None:
        self.context = context

    @abstractmethod
    def check(self) -> CheckResult:
        """Return the answer; an exception counts as failed."""

    def passed(self, detail: str) -> CheckResult:
        return CheckResult(self.id, Result.PASSED, detail)

    def warning(self, detail: str, remedy: str) -> CheckResult:
        return CheckResult(self.id, Result.WARNING, detail, remedy)

    def failed(self, detail: str, remedy: str) -> CheckResult:
        return CheckResult(self.id, Result.FAILED, detail, remedy)

    def skipped(self, detail: str) -> CheckResult:
        return CheckResult(self.id, Result.SKIPPED, detail)


class Nodes(Check):
    """Both management nodes are up, healthy, and on one version."""

    id = 'nodes'

    def check(self) -> CheckResult:
        cluster = self.context.conf.cluster
        with self.context.database.read() as session:
            now = database_now(session)
            nodes = [session.get(Node, name) for name in (cluster.node_name, cluster.peer) if name]
        if len(nodes) < 2:
            return self.failed('there is no second management node', 'set [cluster] peer')
        bad = []
        for name, node in zip((cluster.node_name, cluster.peer), nodes, strict=True):
            if node is None or node.last_seen_at is None:
                bad.append(f'{name} was never seen')
            elif (now - node.last_seen_at).total_seconds() > 2 * self.context.conf.remaster.ready_age:
                bad.append(f'{name} was last seen {node.last_seen_at:%Y-%m-%dT%H:%M:%SZ}')
            elif node.health != 'healthy':
                why = '; '.join(f'{k}: {v}' for k, v in (node.health_detail or {}).items())
                bad.append(f'{name} is {node.health}' + (f' ({why})' if why else ''))
        if bad and self.context.retry and all(b.startswith(f'{cluster.peer} ') for b in bad):
            return self.skipped(f'{"; ".join(bad)}; a retry re-installs it')
        if bad:
            return self.failed(
                '; '.join(bad), 'see `ovca node-list`; start ovca.service on the node, mend what it names'
            )
        versions = {node.running_digest: node.running_version for node in nodes if node}
        if len(versions) > 1 and not self.context.retry:
            names = ' and '.join(sorted(str(v) for v in versions.values()))
            return self.failed(f'the nodes run {names}', 'finish the last update with `ovca update-retry`')
        return self.passed(f'{cluster.node_name} and {cluster.peer} are healthy')


class LeaseHeld(Check):
    """This node acts as master, and no other update is open."""

    id = 'lease'

    def check(self) -> CheckResult:
        with self.context.database.read() as session:
            row = session.query(Lease).first()
            update = newest_update(session)
            opened = update if update and not State(update.state).ended else None
        if row is None or not row.acting:
            return self.failed('no node acts as master', 'see `ovca master-show`, and the log of ovca.service')
        if opened is not None and opened.state != State.REQUESTED:
            return self.failed(
                f'update {opened.id} to {opened.version} is open ({opened.state})',
                'follow it with `ovca update-watch`, or end it with `ovca update-abort`',
            )
        return self.passed(f'{row.holder} is master, epoch {row.epoch}')


class VersionPath(Check):
    """The image may be installed over what runs."""

    id = 'version-path'

    def check(self) -> CheckResult:
        if self.context.version is None:
            return self.skipped('no version was named')
        with self.context.database.read() as session:
            image = session.get(Image, self.context.version)
            node = session.get(Node, self.context.conf.cluster.node_name)
            present = terms(session, node.running_digest if node else None)
        if image is None:
            return self.failed(f'image {self.context.version} is not here', 'fetch it with `ovca download`')
        running, new = node.running_version if node else None, Terms.of(image.manifest)
        problem = route.problem(new, running, present=present, downgrade=self.context.allow_downgrade)
        if problem and not self.context.retry:
            return self.failed(*problem)
        if running and not self.context.retry and not new.follows(running):
            return self.warning(
                f'{running} will be downgraded to {image.version}', 'go on only if an older version is what you want'
            )
        return self.passed(f'{running or "?"} may be updated to {image.version}')


def terms(session: Session, digest: str | None) -> Terms | None:
    """What the image with this digest says of its place among the versions; None if it is not here."""
    if digest is None:
        return None
    image = session.scalars(select(Image).where(Image.digest == digest).limit(1)).one_or_none()
    return None if image is None else Terms.of(image.manifest)


class ImageVerified(Check):
    """The image on the shared storage is whole, and the key that signed it was not revoked since."""

    id = 'image'

    def check(self) -> CheckResult:
        from ovca.image import Store, examine

        if self.context.version is None:
            return self.skipped('no version was named')
        with self.context.database.read() as session:
            row = session.get(Image, self.context.version)
        if row is None:
            return self.failed(f'image {self.context.version} is not here', 'fetch it with `ovca download`')
        store = Store.from_conf(self.context.conf)
        if (reason := self._revoked(store.mgmt(row.version))) is not None:
            return self.failed(
                f'image {row.version} is signed by a key that is revoked ({reason})',
                f'delete it: `ovca image-delete {row.version}`, and get one that is signed by the present key',
            )
        bad = examine(store, row.version, digest=row.digest, files_digest=row.files_digest).differences
        if bad:
            return self.failed(
                f'{len(bad)} files of image {row.version} are wrong, the first is {bad[0].path} ({bad[0].problem})',
                f'look at the storage; then replace the image: `ovca image-delete {row.version}` and `ovca download`',
            )
        return self.passed(f'image {row.version} is as its manifest says')

    def _revoked(self, folder: Path) -> str | None:
        """Why the key that signed the image was revoked, if it was."""
        from ovca.image import keys

        try:
            _, id = keys.signer((folder / 'manifest.json.minisig').read_bytes())
        except (FileNotFoundError, ValueError):
            return None  # not signed, which was allowed when it was published
        return keys.load(Path(self.context.conf.image.key_folder)).revoked.get(id)


class BmcReachable(Check):
    """The BMCs of both nodes answer a power query."""

    id = 'bmc'

    def check(self) -> CheckResult:
        cluster = self.context.conf.cluster
        for name in filter(None, (cluster.node_name, cluster.peer)):
            if power_of(self.context.conf, self.context.database, name).state() is PowerState.UNKNOWN:
                return self.failed(f'the BMC of {name} does not tell the power state', 'look at the BMC')
        return self.passed('the BMCs of both nodes answer')


class Space(Check):
    """The shared storage has its reserve left."""

    id = 'space'

    def check(self) -> CheckResult:
        folder = Path(self.context.conf.image.shared_storage)
        free, reserve = shutil.disk_usage(folder).free, int(self.context.conf.image.space_reserve)
        if free < reserve:
            return self.failed(
                f'{folder} has {free} bytes free, fewer than [image] space_reserve = {reserve}',
                'delete old images with `ovca image-delete`, or enlarge the storage',
            )
        return self.passed(f'{folder} has {free // 1_000_000} MB free')


def configured(conf: cfg.ConfigOpts) -> list[str]:
    """The names of the checks to run: the core's, then those of ``[check] enabled``."""
    return list(dict.fromkeys([*CORE, *conf.check.enabled]))


def run_all(
    conf: cfg.ConfigOpts,
    database: Database,
    version: str | None,
    *,
    retry: bool = False,
    allow_downgrade: bool = False,
) -> list[CheckResult]:
    """Run the core checks and those of ``[check] enabled``; in a stable order, each answered."""
    context = CheckContext(conf, database, version, retry, allow_downgrade)
    results = []
    for name in configured(conf):
        try:
            check: Check = plugins.build(GROUP, name, context, api=Check.api)
            results.append(check.check())
        except OvcaError as exc:
            results.append(CheckResult(name, Result.FAILED, exc.with_id, AGAIN))
        except OSError as exc:
            results.append(CheckResult(name, Result.FAILED, str(exc), AGAIN))
        except Exception as exc:
            LOG.exception('check %s', name)
            results.append(CheckResult(name, Result.FAILED, f'{type(exc).__name__}: {exc}', AGAIN))
    return results


def failures(results: list[CheckResult]) -> list[str]:
    """The sentences of those that failed."""
    return [f'{r.id}: {r.detail}' for r in results if r.result is Result.FAILED]


def retryable(update: Update) -> bool:
    """Whether a retry makes sense after this end."""
    return State(update.state) in (State.FAILED_DEGRADED, State.FAILED_ROLLED_BACK, State.FAILED_FORWARD)
