"""Asking the status servers of the other node, and on the virtual IP, how an update stands.

For the time in which the database does not answer here: it may live on the virtual IP, or on a node that reboots.
What is heard is shown and nothing more; that an update has ended counts only when the database says so.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 what a connection would import later, when this node may be wiped
import http.client
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ovca.conf.addresses import in_url
from ovca.remaster import bulletin
from ovca.remaster.views import Snapshot

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
PATH = '/v1/update'
TIMEOUT = 2.0
"""Seconds that one server may take for each part of its answer."""
LARGEST = 1 << 20
"""Bytes of an answer that are read."""
NOBODY = 'no other node answers either'


@dataclass(frozen=True)
class Answer:
    """What the others say: the best of their snapshots, if there is one, and a sentence."""

    words: str
    snapshot: Snapshot | None = None


def sources(conf: cfg.ConfigOpts) -> list[str]:
    """Whom to ask, in order."""
    cluster = conf.cluster
    found = [cluster.peer_url.rstrip('/')] if cluster.peer_url else []
    return [*found, f'http://{in_url(cluster.virtual_ip)}:{cluster.port}']


def ask(conf: cfg.ConfigOpts, update_id: int | None, after: int = 0) -> Answer:
    """Ask all in turn until one can read the database; else the newest that one of them remembers.

    Without a number it is about the newest update.
    """
    remembered: Answer | None = None
    silent: Answer | None = None
    for url in sources(conf):
        try:
            data = _get(url, after)
            node = str(data['node'])[:64]
            if node == conf.cluster.node_name:
                continue  # the virtual IP is here
            told = data.get('snapshot')
            snapshot = bulletin.heard(told) if told is not None else None
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as exc:
            LOG.debug('%s does not tell how the update stands: %s', url, exc)
            continue
        role = 'which acts as master' if data.get('acting') is True else 'which does not act as master'
        if snapshot is None or update_id not in (None, snapshot.update.id):
            silent = silent or Answer(f'{node}, {role}, answers, but does not know how the update stands')
            continue
        snapshot = replace(snapshot, told_by=node)
        if data.get('database') is True:
            return Answer(f'{node}, {role}, tells how the update stands', snapshot)
        words = f'{node}, {role}, has no database either, and tells what it has seen last'
        remembered = remembered or Answer(words, snapshot)
    return remembered or silent or Answer(NOBODY)


def _get(url: str, after: int) -> dict[str, Any]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == 'https' else http.client.HTTPConnection
    connection = kind(parts.hostname or '', parts.port, timeout=TIMEOUT)
    try:
        connection.request('GET', f'{parts.path}{PATH}?after={after}')
        answer = connection.getresponse()
        data = answer.read(LARGEST + 1)
    finally:
        connection.close()
    if answer.status != 200 or len(data) > LARGEST:
        raise ValueError(f'it answers with status {answer.status} and {len(data)} bytes')
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError('it does not answer with an object')
    return found
