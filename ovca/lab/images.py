"""The image maker: an image of the ovca that runs here, under any version and with any change that a test wants."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ovca
from ovca.lab import dependencies
from ovca.lab.spec import LabError

TREE = Path('usr/lib/ovca')
LEFT_OUT = {'lab', 'testing', '__pycache__'}
_compiled: dict[tuple[str, bytes], bytes] = {}
"""Byte code by a module's path in the tree and its source."""
KEPT = {'.py', '.mako', '.typed', '.j2', '.toml', '.json', '.rst'}


@dataclass(frozen=True)
class Plugin:
    """A distribution that only this image has: its modules, its entry points by group, and what brings it into use."""

    name: str
    modules: Mapping[str, str]
    """Source by file name, ``hello.py``; pages on errors, ``hello/pages/hello-lost.rst``, as well."""
    entry_points: Mapping[str, Mapping[str, str]]
    version: str = '1.0'
    configuration: str = ''
    """What the image says of it in ``etc/ovca/vendor.d``: ovcad loads only what the configuration names."""


@dataclass(frozen=True)
class Recipe:
    """What goes into an image."""

    version: str
    update_from: str | None = None
    downgrade_to: str | None = None
    accept_downgrade: bool = True
    notes: str = ''
    extras: tuple[str, ...] = ('redfish',)
    plugins: tuple[Plugin, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Text by path below the node's root, put over what is there; ``usr/lib/ovca/ovca/new.py``."""
    checks: Mapping[str, str] = field(default_factory=dict)
    """Programs that are run before an update to this image begins, by path below the root."""


def cache_folder() -> Path:
    """Where trees of dependencies are kept: ``OVCA_LAB_CACHE``, or the user's cache folder."""
    chosen = os.environ.get('OVCA_LAB_CACHE')
    if chosen:
        return Path(chosen)
    base = os.environ.get('XDG_CACHE_HOME')
    return (Path(base) if base else Path.home() / '.cache') / 'ovca-lab'


def make(output: Path, recipe: Recipe, *, secret_key: Path, cache: Path | None = None) -> Path:
    """Make a signed bundle at ``output``, whole or not at all; return its path."""
    from ovca.image.build import build
    from ovca.provision import pack

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix='.making-') as name:
        folder = Path(name)
        mgmt = folder / 'mgmt'
        make_tree(mgmt, recipe, cache or cache_folder())
        pack.pack(folder / 'installer.pyz')
        build(
            folder / 'bundle',
            version=recipe.version,
            mgmt=mgmt,
            hmp=_component(folder / 'hmp', 'hmp', recipe.version),
            ovm=_component(folder / 'ovm', 'ovm', recipe.version),
            installer=folder / 'installer.pyz',
            secret_key=secret_key,
            update_from=recipe.update_from,
            downgrade_to=recipe.downgrade_to,
            accept_downgrade=recipe.accept_downgrade,
            notes=recipe.notes,
            checks=tuple(recipe.checks),
            level=1,  # a lab's images are read a few times only
        )
        (folder / 'bundle').replace(output)
    return output


def make_tree(root: Path, recipe: Recipe, cache: Path) -> None:
    """Write a node's root file system below ``root``, a folder that does not exist yet."""
    tree = root / TREE
    shutil.copytree(dependencies.cached_tree(cache, recipe.extras), tree, copy_function=_link)
    _own(tree, recipe.version)
    for plugin in recipe.plugins:
        _plugin(tree, plugin)
        if plugin.configuration:
            vendor = root / 'etc/ovca/vendor.d' / f'{plugin.name}.conf'
            vendor.parent.mkdir(parents=True, exist_ok=True)
            vendor.write_text(plugin.configuration)
    release = root / 'etc/ovca-release'
    release.parent.mkdir(parents=True, exist_ok=True)
    release.write_text(f'ovca {recipe.version}\n')
    for name, text in {**recipe.files, **recipe.checks}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name in recipe.checks else 0o644)
        if name.startswith(f'{TREE}/') and path.suffix == '.py':
            _compile(tree, path)


def _link(source: str, target: str) -> None:
    """Link where that is possible: it costs nothing, and what is linked is never written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _own(tree: Path, version: str) -> None:
    """Put ovca itself in, with ``version`` stamped into it."""
    source = Path(ovca.__file__).parent
    for path in sorted(source.rglob('*')):
        inner = path.relative_to(source)
        if LEFT_OUT & set(inner.parts) or path.suffix not in KEPT or not path.is_file():
            continue
        target = tree / 'ovca' / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        if inner == Path('__init__.py'):
            target.write_text(_stamped(path.read_text(), version))
        else:
            shutil.copyfile(path, target)
        if path.suffix == '.py':
            _compile(tree, target)
    entry_points = importlib.metadata.distribution('ovca').read_text('entry_points.txt') or ''
    _metadata(tree, 'ovca', version, entry_points)


def _stamped(source: str, version: str) -> str:
    line = f'__version__ = {ovca.__version__!r}'
    if line not in source:
        raise LabError(f'ovca/__init__.py has no line {line}; the image cannot be given a version')
    return source.replace(line, f'__version__ = {version!r}')


def _plugin(tree: Path, plugin: Plugin) -> None:
    for name, source in plugin.modules.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        if path.suffix == '.py':
            _compile(tree, path)
    lines = []
    for group, entries in plugin.entry_points.items():
        lines += [f'[{group}]', *(f'{name} = {value}' for name, value in entries.items())]
    _metadata(tree, plugin.name, plugin.version, '\n'.join(lines) + '\n')


def _metadata(tree: Path, name: str, version: str, entry_points: str) -> None:
    folder = tree / f'{name.replace("-", "_")}-{version}.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    (folder / 'entry_points.txt').write_text(entry_points)


def _compile(tree: Path, source: Path) -> None:
    """Compile a module; what this process has compiled before is taken from there."""
    target = source.parent / '__pycache__' / f'{source.stem}.{_cache_tag()}.pyc'
    inner = str(source.relative_to(tree))
    known = (inner, source.read_bytes())
    if known in _compiled:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_compiled[known])
        return
    dependencies.compile_module(source, target, inner)
    _compiled[known] = target.read_bytes()


def _cache_tag() -> str:
    return sys.implementation.cache_tag or 'python'


def _component(folder: Path, name: str, version: str) -> Path:
    """A tree that is published and not applied: a stand-in of a few bytes."""
    folder.mkdir()
    (folder / 'release').write_text(f'{name} {version}\n')
    return folder
