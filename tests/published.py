"""A small image on the shared storage and in the database of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ovca.daemon.images import row_of
from ovca.db.engine import Database
from ovca.image import PublishedImage, Store, receive
from ovca.image.build import build, keygen
from ovca.testing.appliance import Config


def publish(
    config: Config,
    folder: Path,
    database: Database,
    *,
    files: Mapping[str, str] | None = None,
    checks: Mapping[str, str] | None = None,
) -> PublishedImage:
    """Build, sign, receive and publish version 1.1.0, which may be installed over 1.0.0.

    ``files`` and ``checks``, programs that are run before an update, are texts by path.
    """
    (folder / 'tree/etc').mkdir(parents=True)
    (folder / 'tree/etc/ovca-release').write_text('ovca 1.1.0\n')
    for name, text in {**(files or {}), **(checks or {})}.items():
        path = folder / 'tree' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name in (checks or {}) else 0o644)
    bundle, keys = folder / 'x.iso.zip', folder / 'keys'
    build(
        bundle,
        version='1.1.0',
        mgmt=folder / 'tree',
        secret_key=keygen(keys, 'vendor')[0],
        update_from='1.0.0',
        checks=tuple(checks or ()),
    )
    config.set('image', key_folder=keys)
    conf = config.load()

    def nothing(_: object) -> None:
        return None

    def commit(image: PublishedImage) -> None:
        with database.write() as session:
            session.add(row_of(image, database.now(session)))

    return receive(
        str(bundle),
        store=Store.from_conf(conf),
        conf=conf,
        progress=nothing,
        cancelled=lambda: False,
        accept=nothing,
        commit=commit,
    )
