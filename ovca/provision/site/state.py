"""A node's site settings as they lie on the shared storage: whole or not at all, with a digest, for root's eyes only.

Beside the newest state lie the one before it, and the last one of the system before the present one: what an install
could not put back is not overwritten by the next look.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ovca.exceptions import ProvisionError
from ovca.files import write_atomic
from ovca.image.names import shown
from ovca.provision.authority import SiteBundle, SiteFile, decode_file, encode_file
from ovca.provision.site.survey import MOST, Loss, Why

LOG = logging.getLogger(__name__)
FOLDER = '.ovca-site'
NEWEST, PREVIOUS, BEFORE_INSTALL = 'site.json', 'site.previous.json', 'site.before-install.json'
FORMAT = 2
SAVED, ABSENT, FAILED = 'saved', 'not there', 'failed'


@dataclass(frozen=True)
class ItemState:
    """What became of one item when it was last saved."""

    name: str
    outcome: str
    detail: str = ''
    data: bytes | None = field(default=None, repr=False)
    """What no file holds; files are listed by themselves."""
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteState:
    """All that was saved of a node, and what would be lost."""

    node: str
    version: str | None
    installation: str
    """Which installation of the node's system it was; it changes with each wipe."""
    items: tuple[ItemState, ...]
    files: tuple[SiteFile, ...]
    losses: tuple[Loss, ...] = ()
    losses_total: int = 0
    compared: str = ''
    """Why it is not known what would be lost; empty, if it is."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What became of the items in the node's last installation."""
    saved_at: str = ''
    looked_at: str = ''
    """When the node last found that this is still so."""

    def item_files(self, name: str) -> tuple[SiteFile, ...]:
        """The files of one item."""
        return tuple(file for file in self.files if file.item == name)

    def bundle(self) -> SiteBundle:
        """What the installer gets."""
        about = {
            'items': [_item(item) for item in self.items],
            'lost': [f'{shown(loss.path)} ({loss.why})' for loss in self.losses],
            'lost_total': self.losses_total,
            'compared': self.compared,
            'saved_at': self.looked_at or self.saved_at,
        }
        return SiteBundle(self.files, about)


def folder(shared_storage: Path, node: str) -> Path:
    """Where the states of a node lie."""
    return shared_storage / FOLDER / node


def save(state: SiteState, shared_storage: Path) -> SiteState:
    """Save a node's state; return it with its times. What is saved already is only marked as still right.

    :raises ProvisionError: the shared storage does not take it.
    """
    place = folder(shared_storage, state.node)
    newest, now = place / NEWEST, stamp()
    try:
        for each in (place.parent, place):  # not the storage itself: if it is missing, it is not mounted
            each.mkdir(mode=0o700, exist_ok=True)
            each.chmod(0o700)
        before = _whole(newest, state.node)
        if before is not None and replace(before, saved_at='', looked_at='') == replace(
            state, saved_at='', looked_at=''
        ):
            os.utime(newest)
            return replace(before, looked_at=now)
        if before is not None:
            data = newest.read_bytes()
            write_atomic(place / PREVIOUS, data, 0o600)
            if before.installation not in ('', state.installation):
                write_atomic(place / BEFORE_INSTALL, data, 0o600)
        made = replace(state, saved_at=now, looked_at=now)
        write_atomic(newest, encode(made), 0o600)
    except OSError as exc:
        raise ProvisionError(
            f'{newest} cannot be written: {exc.strerror}; see to the shared storage', id='site-files'
        ) from exc
    return made


def _whole(path: Path, node: str) -> SiteState | None:
    """What a file holds; None if there is none, or it is torn. :raises OSError: it cannot be read."""
    try:
        return decode(path.read_bytes(), node, moment(path.stat().st_mtime))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        LOG.warning('%s is damaged (%s); it is written anew', path, exc)
        return None


def load(shared_storage: Path, node: str) -> SiteState:
    """Return what was saved of the node; of a damaged state, the one before it.

    That nothing was saved is an error: the node would come up without its settings.

    :raises ProvisionError: there is nothing, or it is damaged.
    """
    place = folder(shared_storage, node)
    newest = place / NEWEST
    cause: Exception | None = None
    for name in (NEWEST, PREVIOUS):
        path = place / name
        try:
            found = decode(path.read_bytes(), node, moment(path.stat().st_mtime))
        except FileNotFoundError:
            continue
        except PermissionError as exc:
            raise ProvisionError(f'{path} cannot be read: {exc.strerror}; be root for it', id='site-files') from exc
        except (OSError, ValueError, KeyError, TypeError) as exc:
            cause = cause or exc
            continue
        if cause is not None:
            LOG.error('%s is damaged (%s); the state before it, of %s, is used', newest, cause, found.saved_at or '?')
        return found
    if cause is not None:
        raise ProvisionError(
            f'{newest} cannot be read: {cause}; start ovca.service on {node} once', id='no-site-files'
        ) from cause
    raise ProvisionError(
        f'{newest} does not exist; start ovca.service on {node} once, it saves them', id='no-site-files'
    )


def stored_digest(shared_storage: Path, node: str) -> str:
    """The digest of a node's newest state, as whoever asks sees it on the storage; empty: nothing whole is there."""
    try:
        data = (folder(shared_storage, node) / NEWEST).read_bytes()
        decode(data, node)
        return str(json.loads(data)['sha256'])
    except (OSError, ValueError, KeyError, TypeError):
        return ''


def stamp() -> str:
    """Now, to the microsecond: two looks within a second are two."""
    return dt.datetime.now(dt.UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')


def moment(seconds: float) -> str:
    """A file's time in the same form."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')


# The file.


def encode(state: SiteState) -> bytes:
    """The state as a file holds it."""
    body = json.dumps(
        {
            'node': state.node,
            'saved_at': state.saved_at,
            'version': state.version,
            'installation': state.installation,
            'items': [_item(item) for item in state.items],
            'files': [encode_file(file) for file in state.files],
            'losses': [[loss.path, loss.why.value] for loss in state.losses[:MOST]],
            'losses_total': state.losses_total,
            'compared': state.compared,
            'report': dict(state.report),
        },
        sort_keys=True,
    )
    digest = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({'format': FORMAT, 'sha256': digest, 'body': body}, sort_keys=True).encode() + b'\n'


def _item(item: ItemState) -> dict[str, Any]:
    data = None if item.data is None else base64.b64encode(item.data).decode()
    return {
        'name': item.name,
        'outcome': item.outcome,
        'detail': item.detail,
        'data': data,
        'notes': dict(item.notes),
    }


def decode(data: bytes, node: str, looked_at: str = '') -> SiteState:
    """The state from its file. :raises ValueError, KeyError, TypeError: it is none, or torn."""
    outer = json.loads(data)
    if isinstance(outer, list):  # what software of before site items wrote
        files = tuple(decode_file(each) for each in outer)
        return SiteState(node, None, '', (ItemState('files', SAVED),), files, looked_at=looked_at)
    if not isinstance(outer, dict) or outer['format'] != FORMAT:
        raise TypeError('it holds no state of this format')
    body = outer['body']
    if hashlib.sha256(body.encode()).hexdigest() != outer['sha256']:
        raise ValueError('its digest is not the one of its content')
    inner = json.loads(body)
    if inner['node'] != node:
        raise ValueError(f'it is the state of {inner["node"]}')
    return SiteState(
        node=node,
        version=inner['version'],
        installation=inner['installation'],
        items=tuple(
            ItemState(
                each['name'],
                each['outcome'],
                each['detail'],
                None if each['data'] is None else base64.b64decode(each['data'], validate=True),
                each['notes'],
            )
            for each in inner['items']
        ),
        files=tuple(decode_file(each) for each in inner['files']),
        losses=tuple(Loss(path, Why(why)) for path, why in inner['losses']),
        losses_total=inner['losses_total'],
        compared=inner['compared'],
        report=inner['report'],
        saved_at=inner['saved_at'],
        looked_at=looked_at or inner['saved_at'],
    )
