"""A node's care for its own site settings: put back after an install, told, and saved while it runs."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ovca.cluster.glance import recent
from ovca.cluster.nodes import silent_after
from ovca.conf.storage import unmounted
from ovca.daemon import neighbour
from ovca.db import events
from ovca.db.engine import Database
from ovca.db.models import Node, Update
from ovca.exceptions import DatabaseError, ProvisionError
from ovca.files import write_json
from ovca.image.names import shown
from ovca.provision import putback
from ovca.provision.site import gathering, state
from ovca.provision.site.base import SiteItem, SiteItemError
from ovca.provision.site.survey import Vouched
from ovca.remaster.observe import newest_update
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
KIND: Final = 'site'
INTERVAL = 60.0
"""Seconds between two looks at the site settings."""
PATIENCE = 5.0
"""Seconds that a node is waited for which is asked to save."""


class SiteCare:
    """Saves the settings of the system below ``[provision] root``; :meth:`step` is called by one thread.

    Others ask for a save by :meth:`save_now`, which waits for one that began after it was asked for.
    """

    def __init__(self, conf: cfg.ConfigOpts, database: Database, items: Sequence[SiteItem]) -> None:
        self.conf, self.database, self.items = conf, database, items
        self.node: str = conf.cluster.node_name
        self.root, self.shared = Path(conf.provision.root), Path(conf.image.shared_storage)
        self._working = threading.Lock()
        self._turn = threading.Condition()
        self._begun = self._ended = 0
        self._answer: dict[str, Any] = {}
        self._image: tuple[str, tuple[Vouched | None, str]] | None = None
        self._said: dict[str, str] = {}
        self._unwritten: list[tuple[events.Kind, str, int | None]] = []
        self._wake = threading.Event()
        self._took = 0.0
        """Seconds that the last step took."""

    # Saving.

    def step(self) -> None:
        """Finish what an install left to do, tell of it, and save; errors are alarms, and tried again next time."""
        with self._working:
            with self._turn:
                self._begun += 1
                number = self._begun
            begun = time.monotonic()
            self._finish()
            answer = self._save()
            self._write_down()
            self._took = time.monotonic() - begun
            with self._turn:
                self._ended, self._answer = number, answer
                self._turn.notify_all()

    def wait(self, stopped: threading.Event) -> None:
        """Return when it is time for the next step.

        Whoever asks again and again: half of the time at most is spent on saving.
        """
        rest = min(self._took, PATIENCE / 5)
        if not stopped.wait(rest):
            self._wake.wait(INTERVAL - rest)
        self._wake.clear()

    def wake(self) -> None:
        """Let :meth:`wait` return."""
        self._wake.set()

    def save_now(self, patience: float = PATIENCE) -> dict[str, Any]:
        """Have it saved now; return when that was (``saved_at``), or what is wrong (``error``).

        Many may ask at once.
        """
        with self._turn:
            wanted = self._begun + 1
            self.wake()
            if not self._turn.wait_for(lambda: self._ended >= wanted, patience):
                return {'node': self.node, 'error': f'the site settings are not saved within {patience:g} s'}
            return {'node': self.node, **self._answer}

    def _save(self) -> dict[str, Any]:
        try:
            if why := unmounted(self.conf):
                raise ProvisionError(f'{why}; mount it', id='site-files')
            made = state.save(self._gather(), self.shared)
        except (OSError, ProvisionError) as exc:
            text = f'the site files could not be saved: {exc}'
            self._alarm('save', text)
            return {'error': text}
        self._said.pop('save', None)
        failed = {item.name: item.detail for item in made.items if item.outcome == state.FAILED}
        for name, detail in failed.items():
            self._alarm(f'item {name}', f'the site item {name} could not be saved: {detail}')
        for key in [key for key in self._said if key.startswith('item ') and key[5:] not in failed]:
            del self._said[key]
        return {
            'saved_at': made.looked_at,
            'digest': state.stored_digest(self.shared, self.node),
            'items': len(made.items),
            'lost': made.losses_total,
        }

    def _gather(self) -> state.SiteState:
        provision = self.conf.provision
        folders = [folder.strip('/') for folder in provision.site_watch]
        mark = f'{gathering.Installation.of(self.root).mark} {folders}'
        if self._image is None or self._image[0] != mark or self._image[1][0] is None:
            self._image = (mark, gathering.vouched(self.root, self.shared, folders))
        try:
            before = state.load(self.shared, self.node)
        except ProvisionError:
            before = None  # nothing is kept of it; what is wrong is said when it is written
        return gathering.gather(
            self.root,
            self.items,
            node=self.node,
            watch=gathering.Watch(folders, provision.site_ignore),
            image=self._image[1],
            before=before,
            report=self._report(),
        )

    # After an install.

    def _report(self) -> dict[str, Any]:
        try:
            found = json.loads((self.root / putback.REPORT).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            LOG.warning('%s cannot be read: %s', self.root / putback.REPORT, exc)
            return {}
        return found if isinstance(found, dict) else {}

    def _finish(self) -> None:
        """Put back what no file holds, and write what became of the items into the journal, once."""
        report = self._report()
        if not report:
            return
        try:
            self._restore(report)
            if not report.get('told') and self._tell(report):
                write_json(self.root / putback.REPORT, {**report, 'told': True}, mode=0o600)
        except OSError as exc:
            self._alarm('report', f'the report on the site settings could not be written: {exc}')

    def _restore(self, report: dict[str, Any]) -> None:
        """Put the pending items back, and note it in the report. What fails stays, and is tried at the next start.

        :raises OSError: that cannot be written.
        """
        path = self.root / putback.PENDING
        try:
            pending: dict[str, str] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as exc:
            self._alarm('pending', f'{path} cannot be read, so what it holds was not put back: {exc}')
            return
        mine, before = {item.name: item for item in self.items}, json.dumps(report)
        for row in report.get('items', ()):
            name = row['name']
            if name not in pending or self._said.get(f'restore {name}'):
                continue
            try:
                if name not in mine:
                    raise SiteItemError(
                        f'site item {name} is not installed here; add it to [provision] site_items, and restart '
                        f'ovca.service'
                    )
                mine[name].restore(self.root, base64.b64decode(pending[name]))
            except (SiteItemError, ValueError) as exc:
                row['outcome'], row['detail'] = putback.FAILED, str(exc)
                self._alarm(f'restore {name}', f'the site item {name} was not put back: {exc}')
            else:
                row['outcome'], row['detail'] = putback.CARRIED, ''
                del pending[name]
        # The report first: an item that is put back twice does no harm, and one that is said to wait for ever does.
        if json.dumps(report) != before:
            write_json(self.root / putback.REPORT, report, mode=0o600)
        if pending:
            write_json(path, pending, mode=0o600)
        else:
            path.unlink()

    def _tell(self, report: dict[str, Any]) -> bool:
        update = report.get('update')
        if update is None:
            return True  # a factory's install has taken nothing away
        try:
            with self.database.write() as session:
                known = session.get(Update, update) is not None
                for line in report_lines(self.node, report):
                    events.append(session, kind=KIND, node=self.node, update_id=update if known else None, detail=line)
        except DatabaseError as exc:
            LOG.debug('the report on the site settings is told later: %s', exc)
            return False
        for line in report_lines(self.node, report):
            LOG.info('%s', shown(line))
        return True

    # Alarms.

    def _alarm(self, key: str, text: str) -> None:
        """Say it in the log each time it is new, and in the journal, from where it is told to people."""
        if self._said.get(key) == text:
            return
        self._said[key] = text
        LOG.error('ALARM: %s', text)
        self._unwritten.append(('alarm', f'{self.node}: {text}', None))

    def _write_down(self) -> None:
        if not self._unwritten:
            return
        try:
            with self.database.write() as session:
                for kind, detail, update in self._unwritten:
                    events.append(session, kind=kind, node=self.node, update_id=update, detail=detail)
        except DatabaseError as exc:
            LOG.debug('an alarm is written later: %s', exc)
        else:
            self._unwritten.clear()


def report_lines(node: str, report: dict[str, Any]) -> list[str]:
    """What became of the site settings in an install: a summary, and a line for each item that failed."""
    rows = report.get('items', [])
    count = {
        word: sum(1 for row in rows if row['outcome'] == word)
        for word in (putback.CARRIED, putback.ABSENT, putback.FAILED, putback.WAITING)
    }
    parts = [f'{number} {word}' for word, number in count.items() if number or word == putback.CARRIED]
    lost = report.get('lost_total', 0)
    summary = f'{node}: site items after the installation: {", ".join(parts)}'
    if report.get('compared'):
        summary += f'; whether other files were lost is not known: {report["compared"]}'
    elif lost:
        first = ', '.join(report.get('lost', [])[:3])
        summary += f'; not carried over were {lost} files, as {first}; see `ovca site-show {node}`'
    lines = [summary]
    lines += [
        f'{node}: the site item {row["name"]} failed: {row["detail"]}'
        for row in rows
        if row['outcome'] == putback.FAILED
    ]
    return lines


def ask(url: str, patience: float = PATIENCE) -> dict[str, Any]:
    """Have a node save its site settings now; return its answer, which has an ``error`` when it did not.

    No error is raised: a node that is dead or does not know the question must not hold an install up.
    """
    import requests

    try:
        answer = neighbour.post(url, 'site', (1.0, patience + 1.0))
        if answer.status_code == 404:
            return {'error': 'its software is of before site items; it saves its settings once a minute'}
        found = answer.json()
    except (requests.RequestException, ValueError) as exc:
        return {'error': f'it does not answer ({type(exc).__name__})'}
    return found if isinstance(found, dict) else {'error': 'it gives no answer that can be understood'}


def _asked(conf: cfg.ConfigOpts, node: str, url: str) -> dict[str, Any]:
    """Have a node save; that it did counts if what it says that it stored is what lies on the storage, as seen here."""
    for _ in range(2):  # a look once a minute may come in between
        answer = ask(url)
        other = answer.get('node')
        if other not in (None, node):
            return {'error': f'at {url} it is {shown(str(other))} that answers, see to [cluster] peer_url'}
        # Software of before tells no digest.
        if answer.get('error') or 'digest' not in answer:
            return answer
        if answer['digest'] and answer['digest'] == state.stored_digest(Path(conf.image.shared_storage), node):
            return answer
    here = conf.cluster.node_name
    return {'error': f'what it says that it saved is not on the shared storage, as {here} sees it'}


def ask_node(conf: cfg.ConfigOpts, database: Database, node: str) -> bool:
    """Have a live node save its site settings before it is wiped; return whether it did. It takes seconds at most.

    What it did not save is told in the journal of the open update: edits of the last minute may be lost.
    """
    with database.read() as session:
        row, update = session.get(Node, node), newest_update(session)
        number = update.id if update is not None and not State(update.state).ended else None
        silent = row is None or not recent(row.last_seen_at, database.now(session), silent_after(conf))
    url = conf.cluster.peer_url if node == conf.cluster.peer else None
    url = url or (row.address if row is not None else None)
    answer = {'error': 'it is silent, so it was not asked'} if silent or not url else _asked(conf, node, url)
    error = answer.get('error')
    try:
        when = state.load(Path(conf.image.shared_storage), node).looked_at[:19] + 'Z'
        last = f'what it saved at {when} is put back'
    except ProvisionError as exc:
        last = str(exc)
    text = f'{node}: the site settings are saved' if not error else f'{node} did not save its site settings: {error}'
    detail = f'{text}; {last}' if error else text
    (LOG.warning if error else LOG.info)('%s', detail)
    with database.write() as session:
        events.append(session, kind=KIND, node=node, actor=conf.cluster.node_name, update_id=number, detail=detail)
    return not error
