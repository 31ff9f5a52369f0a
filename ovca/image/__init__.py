"""From a URI to a published image: fetch, judge, unpack, publish.

The names are imported when they are used: the installer takes :mod:`ovca.image.iso9660` from here and has nothing but
the standard library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovca.image.manifest import Manifest
    from ovca.image.pipeline import Progress, PublishedImage, receive
    from ovca.image.store import Store
    from ovca.image.verification import examine, verify, verify_root

__all__ = ['Manifest', 'Progress', 'PublishedImage', 'Store', 'examine', 'receive', 'verify', 'verify_root']
_HOMES = {
    'Manifest': 'manifest',
    'Progress': 'pipeline',
    'PublishedImage': 'pipeline',
    'receive': 'pipeline',
    'Store': 'store',
    'examine': 'verification',
    'verify': 'verification',
    'verify_root': 'verification',
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f'ovca.image.{_HOMES[name]}'), name)
