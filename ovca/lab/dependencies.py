"""What a node needs besides ovca, as an installed tree: ovca's requirements and theirs, taken from this environment.

A tree is made once for each set of packages and kept in a cache. Modules are compiled, and their sources left out: half
the files to write, hash and check at each install. Byte code is of the kind that is never compared with a source.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import py_compile
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackagePath
from pathlib import Path

from ovca.lab.spec import LabError

UNWANTED = {'cmd2', 'markdown-it-py', 'mdurl', 'prompt-toolkit', 'pyperclip', 'rich-argparse', 'setuptools', 'tzdata'}
"""Required by something, and not imported by anything that a node runs."""
JUNK_FOLDERS = {'__pycache__', 'test', 'tests', 'testing', 'docs', 'examples'}
JUNK_PLACES = (
    'netaddr/eui/',
    'pygments/formatters/',
    'pygments/lexers/',
    'pygments/styles/',
    'sqlalchemy/dialects/mssql/',
    'sqlalchemy/dialects/mysql/',
    'sqlalchemy/dialects/oracle/',
    'sqlalchemy/ext/mypy/',
)
JUNK_SUFFIXES = {'.c', '.exe', '.h', '.idx', '.js', '.po', '.pxd', '.pyi', '.pyx', '.tmpl', '.txt', '.typed', '.xml'}
METADATA = {'METADATA', 'entry_points.txt'}
NEED = re.compile(r'\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[(?P<extras>[^\]]*)\])?')
EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def cached_tree(cache: Path, extras: Sequence[str] = ('redfish',)) -> Path:
    """Return the folder that holds the dependencies, made when it is not there yet. Do not write into it."""
    wanted = closure([f'ovca[{",".join(extras)}]'])
    target = cache / f'tree-{_identity(wanted)}'
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache, prefix='.making-'))
    try:
        for dist in wanted:
            _copy(dist, temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():  # else somebody else made the same meanwhile
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


@dataclass(frozen=True)
class Need:
    """A requirement as package metadata writes it: ``psycopg[binary]>=3.1; extra == "postgresql"``."""

    name: str
    extras: frozenset[str]
    only_with: frozenset[str]
    """It holds only where one of these extras is wanted; empty: always."""
    may_be_absent: bool
    """It depends on the platform. Whoever installed this environment has judged that."""

    @classmethod
    def parse(cls, text: str) -> Need:
        head, _, marker = text.partition(';')
        match = NEED.match(head)
        if match is None:
            raise LabError(f'a package here has a requirement that cannot be read: {text!r}; install it anew')
        extras = frozenset(part.strip() for part in (match['extras'] or '').split(',') if part.strip())
        rest = re.sub(r'\b(and|or)\b|[()\s]', '', EXTRA.sub('', marker))
        return cls(canonical(match['name']), extras, frozenset(EXTRA.findall(marker)), bool(rest))


def closure(requirements: Iterable[str]) -> list[Distribution]:
    """Return the installed distributions that ``requirements`` need, but for ovca itself, by name.

    :raises LabError: one is not installed.
    """
    found: dict[str, Distribution] = {}
    extras: dict[str, set[str]] = {}
    todo = [Need.parse(text) for text in requirements]
    while todo:
        need = todo.pop()
        if need.name in UNWANTED or (need.name in found and need.extras <= extras[need.name]):
            continue
        try:
            dist = found[need.name] = importlib.metadata.distribution(need.name)
        except importlib.metadata.PackageNotFoundError as exc:
            if need.may_be_absent:
                continue
            raise LabError(f'{need.name} is not installed here; install ovca with: pip install -e .[lab]') from exc
        mine = extras.setdefault(need.name, set())
        mine |= need.extras
        needs = [Need.parse(text) for text in dist.requires or []]
        todo += [each for each in needs if not each.only_with or each.only_with & mine]
    found.pop('ovca', None)
    return [found[name] for name in sorted(found)]


def canonical(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def compile_module(source: Path, target: Path, shown: str) -> None:
    """Compile a module; the byte code is believed without a look at any source."""
    target.parent.mkdir(parents=True, exist_ok=True)
    py_compile.compile(
        str(source),
        cfile=str(target),
        dfile=shown,
        doraise=True,
        optimize=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _identity(dists: Iterable[Distribution]) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(sys.version.encode())
    for dist in dists:
        digest.update(f'{dist.metadata["Name"]} {dist.version}\n'.encode())
    return digest.hexdigest()[:16]


def _copy(dist: Distribution, target: Path) -> None:
    paths = list(_wanted(dist))
    modules = {str(path) for path in paths if path.suffix == '.py'}
    for path in paths:
        source = Path(str(dist.locate_file(path)))
        if path.suffix == '.py':
            compile_module(source, target / path.with_suffix('.pyc'), str(path))
        elif path.suffix != '.so' or f'{str(path).partition(".")[0]}.py' not in modules:
            # What is there twice, compiled and as Python, is taken as Python: smaller by far.
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / path)


def _wanted(dist: Distribution) -> Iterator[PackagePath]:
    for path in dist.files or []:
        if '..' in path.parts or path.is_absolute() or JUNK_FOLDERS & set(path.parts[:-1]):
            continue
        if path.parts[0].endswith(('.dist-info', '.egg-info')):
            if len(path.parts) == 2 and path.name in METADATA:
                yield path
        elif str(path).startswith(JUNK_PLACES) and path.name not in ('__init__.py', '_mapping.py'):
            continue
        elif path.suffix in ('.py', '.so') or (len(path.parts) > 1 and path.suffix not in JUNK_SUFFIXES):
            yield path
