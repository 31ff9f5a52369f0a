"""A node's site files: what an operator set by hand, saved before a wipe and put back after it."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from ovca.exceptions import ProvisionError
from ovca.files import write_json
from ovca.provision.authority import SiteBundle, SiteFile

LOG = logging.getLogger(__name__)
FOLDER = '.ovca-site'


def _path(shared_storage: Path, node: str) -> Path:
    return shared_storage / FOLDER / node / 'site.json'


def collect(root: Path, patterns: Sequence[str]) -> SiteBundle:
    """Return the files below ``root`` that match the patterns."""
    found = {}
    for pattern in patterns:
        for path in sorted(root.glob(pattern.lstrip('/'))):
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(root).as_posix()
                found[name] = SiteFile(name, path.stat().st_mode & 0o777, path.read_bytes())
    return SiteBundle(tuple(found.values()))


def save(root: Path, patterns: Sequence[str], shared_storage: Path, node: str) -> int:
    """Save the node's site files on the shared storage, for root's eyes only; return how many.

    What is saved already is not written again, so it may be called often: an operator may edit a file at any time.

    :raises ProvisionError: the shared storage does not take them.
    """
    bundle = collect(root, patterns)
    target = _path(shared_storage, node)
    try:
        if target.is_file() and decode(json.loads(target.read_bytes())) == bundle:
            return len(bundle.files)
    except (ValueError, KeyError, TypeError):
        LOG.warning('%s is damaged; it is written anew', target)
    except OSError as exc:
        raise ProvisionError(
            f'{target} cannot be read: {exc.strerror}; see to the shared storage', id='site-files'
        ) from exc
    try:
        for folder in (target.parent.parent, target.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        write_json(target, encode(bundle), mode=0o600)
    except OSError as exc:
        raise ProvisionError(
            f'{target} cannot be written: {exc.strerror}; see to the shared storage', id='site-files'
        ) from exc
    return len(bundle.files)


def load(shared_storage: Path, node: str) -> SiteBundle:
    """Return what was saved for the node; nothing was, is an error: the node would come up without its settings.

    :raises ProvisionError: there is nothing, or it is damaged.
    """
    path = _path(shared_storage, node)
    try:
        return decode(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ProvisionError(
            f'{path} does not exist; start ovca.service on {node} once, it saves them', id='no-site-files'
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ProvisionError(
            f'{path} cannot be read: {exc}; start ovca.service on {node} once', id='no-site-files'
        ) from exc


def encode(bundle: SiteBundle) -> list[dict[str, object]]:
    """The bundle as JSON."""
    return [{'path': f.path, 'mode': f.mode, 'base64': base64.b64encode(f.content).decode()} for f in bundle.files]


def decode(data: object) -> SiteBundle:
    """The bundle from JSON. :raises ValueError, KeyError, TypeError: it is none."""
    if not isinstance(data, list):
        raise TypeError('it holds no list of files')
    return SiteBundle(
        tuple(SiteFile(str(f['path']), int(f['mode']), base64.b64decode(f['base64'], validate=True)) for f in data)
    )
