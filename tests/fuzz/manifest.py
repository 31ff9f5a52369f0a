"""The readers of manifests and of ``files.json``, for any bytes: python -m tests.fuzz.manifest [corpus]"""

from __future__ import annotations

import contextlib
import json

from tests.fuzz.driver import drive, harmless


def check(data: bytes) -> None:
    """Read bytes as a manifest and as a list of files.

    They are refused by a ``BundleError`` or read; what was read can be written and is the same again; paths are
    harmless.
    """
    _manifest(data)
    _files(data)


def _manifest(data: bytes) -> None:
    from ovca.image.errors import BundleError
    from ovca.image.manifest import Manifest, agree
    from ovca.image.version import ImageVersion

    try:
        manifest = Manifest.parse(data, 'fuzz')
    except BundleError as exc:
        assert harmless(exc), 'the sentence would disturb a terminal'
        return
    assert 0 < manifest.iso.size <= 2**50
    assert '/' not in manifest.iso.name
    ImageVersion(manifest.version)
    kept = manifest.as_dict()
    assert set(json.loads(data)) <= set(kept), 'a field was lost'
    assert Manifest.parse(json.dumps(kept, allow_nan=False).encode(), 'fuzz') == manifest
    with contextlib.suppress(BundleError):
        agree(manifest, {}, 'fuzz')


def _files(data: bytes) -> None:
    from ovca.image.errors import BundleError
    from ovca.image.manifest import parse_files
    from ovca.image.names import MAX_PATH, flaw, link_flaw

    try:
        files = parse_files(data, 'fuzz')
    except BundleError as exc:
        assert harmless(exc), 'the sentence would disturb a terminal'
        return
    for path, file in files.items():
        assert not any(flaw(part) for part in path.split('/'))
        assert len(path.encode()) <= MAX_PATH
        assert file.path == path
        assert file.size >= 0
        assert file.mode & ~0o777 == 0
        assert file.link is None or link_flaw(file.link) is None
        assert not any(path.startswith(f'{other}/') for other in list(files)[:50])


if __name__ == '__main__':
    drive(check, 'ovca.image.manifest', 'ovca.image.strictjson', 'ovca.image.names', 'ovca.image.version')
