"""The factory: makes a lab's folders, keys and database, and puts the first version on both nodes.

The first version is installed by the same installer that every update uses, from an image published as any other.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovca.lab import config, hardware, images, spec

if TYPE_CHECKING:
    from ovca.db.engine import Database
    from ovca.image import PublishedImage

Files = dict[str, tuple[bytes, int]]
"""Content and mode by path below a node's root."""

SECRET_KEY, PUBLIC_KEY = 'keys/lab.key', 'keys/lab.pub'


def build(
    lab: spec.LabSpec,
    *,
    overrides: config.Overrides | None,
    plugins: Sequence[images.Plugin] = (),
    cache: Path | None,
    stock: Path | None = None,
) -> None:
    """Write everything that a new lab needs; nothing of it runs afterwards."""
    lab.folder.mkdir(parents=True, exist_ok=True)
    lab.save()
    for folder in (lab.shared, lab.run, lab.folder / 'db', lab.folder / 'www', lab.folder / 'network'):
        folder.mkdir(parents=True, exist_ok=True)
    if stock is not None:
        _take_over(lab, stock)
    else:
        make_keys(lab.folder)
    for node in lab.nodes:
        _make_node(lab, node)
    bundle = lab.folder / 'www' / bundle_name(lab.version)
    if not bundle.exists():
        recipe = images.Recipe(lab.version, extras=extras(lab), notes='as it left the factory', plugins=tuple(plugins))
        make_image(lab, recipe, cache=cache)
    with_files = {node.name: site_files(lab, node, overrides) for node in lab.nodes}
    image = publish(lab, bundle, with_files[lab.nodes[0].name])
    for node in lab.nodes:
        install(lab, node, image, with_files[node.name])


def make_keys(folder: Path) -> None:
    """Make the key pair that signs this lab's images."""
    from ovca.image.signing import keygen

    (folder / 'keys').mkdir(parents=True, exist_ok=True)
    keygen(folder / 'keys', 'lab')


def make_stock(folder: Path, recipes: Sequence[images.Recipe], *, cache: Path | None = None) -> Path:
    """Make keys, and images signed with them, for labs that are yet to be made; return the folder.

    What a lab's nodes need, by its database, is up to the recipes.
    """
    make_keys(folder)
    for recipe in recipes:
        output = folder / 'www' / bundle_name(recipe.version)
        images.make(output, recipe, secret_key=folder / SECRET_KEY, cache=cache)
    return folder


def _take_over(lab: spec.LabSpec, stock: Path) -> None:
    shutil.copytree(stock / 'keys', lab.folder / 'keys')
    for bundle in (stock / 'www').glob('*.zip'):
        shutil.copyfile(bundle, lab.folder / 'www' / bundle.name)


def bundle_name(version: str) -> str:
    """What the image server calls an image."""
    return f'ovca-{version}.iso.zip'


def extras(lab: spec.LabSpec) -> tuple[str, ...]:
    """The extras of ovca that the nodes need."""
    return ('redfish',) if lab.database.startswith('sqlite') else ('postgresql', 'redfish')


def make_image(lab: spec.LabSpec, recipe: images.Recipe, *, cache: Path | None = None) -> Path:
    """Make an image, signed with the lab's key, in the folder that the image server shows."""
    recipe = replace(recipe, extras=extras(lab))
    output = lab.folder / 'www' / bundle_name(recipe.version)
    return images.make(output, recipe, secret_key=lab.folder / SECRET_KEY, cache=cache)


def site_files(lab: spec.LabSpec, node: spec.NodeSpec, overrides: config.Overrides | None) -> Files:
    """What makes a node this node: configuration, keys and password, by path below its root."""
    conf = config.text(config.sections(lab, node, overrides))
    return {
        'etc/ovca.conf': (conf.encode(), 0o600),
        'etc/ovca/keys/lab.pub': ((lab.folder / PUBLIC_KEY).read_bytes(), 0o644),
        config.BMC_PASSWORD: (lab.bmc_password.encode(), 0o600),
    }


def publish(lab: spec.LabSpec, bundle: Path, files: Files) -> PublishedImage:
    """Publish the bundle in the shared storage and the database, as the service does it."""
    from ovca import conf as configuration
    from ovca.daemon.images import row_of
    from ovca.db import schema
    from ovca.image import Store, receive

    # The nodes' files are not on their disks yet, so the image room gets them from the side.
    desk = lab.folder / 'factory'
    for name, (content, mode) in files.items():
        _write(desk / name, content, mode)
    conf = configuration.load(str(desk / 'etc/ovca.conf'), [f'image.key_folder={desk / "etc/ovca/keys"}'])
    database = open_database(lab)
    try:
        schema.upgrade(database)

        def commit(image: PublishedImage) -> None:
            with database.write() as session:
                session.add(row_of(image, database.now(session)))

        return receive(
            str(bundle),
            store=Store.from_conf(conf),
            conf=conf,
            progress=lambda _: None,
            cancelled=lambda: False,
            accept=lambda _: None,
            commit=commit,
        )
    finally:
        database.dispose()


def install(lab: spec.LabSpec, node: spec.NodeSpec, image: PublishedImage, files: Files) -> None:
    """Install a published image on a node's disk; the machine is off."""
    from ovca.provision.tree import install_tree

    iso = lab.shared / image.iso
    site: list[dict[str, Any]] = [
        {'path': name, 'mode': mode, 'base64': base64.b64encode(content).decode()}
        for name, (content, mode) in files.items()
    ]
    install_tree(iso=iso, digest=image.digest, root=node.root, site=site)


def open_database(lab: spec.LabSpec) -> Database:
    """The lab's database as the host reaches it, whatever cables are cut."""
    from ovca.db.engine import Database

    return Database(lab.database)


def new_machine(lab: spec.LabSpec, node: spec.NodeSpec) -> spec.NodeSpec:
    """Make another machine that stands where ``node`` stood, and has nothing of it but the place."""
    for folder in (node.root, node.hardware):
        shutil.rmtree(folder, ignore_errors=True)
    node.boot_id.unlink(missing_ok=True)
    node.vices.unlink(missing_ok=True)
    machine = spec.another_machine(node)
    _make_node(lab, machine)
    return machine


def _make_node(lab: spec.LabSpec, node: spec.NodeSpec) -> None:
    node.root.mkdir(parents=True, exist_ok=True)
    (node.root / spec.MARKER).write_text('The disk of a node in a process lab; an installer may empty this folder.\n')
    hardware.write_reboot(node, lab.python)
    hardware.write_card(node)
    hardware.write_shell(lab, node)


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode)
    path.chmod(mode)
    path.write_bytes(content)
