"""The promise to authors of plugins: what may be imported, and how it is called. It is kept in ``api.txt``.

``OVCA_WRITE_API=1 pytest tests/unit/plugins/test_api.py`` writes the file anew.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

FILE = Path(__file__).with_name('api.txt')
PROMISE = Path(__file__).parents[3] / 'doc/source/plugins/promise.rst'
FIXTURES = 'ovca.testing.fixtures'
MODULES = (
    'ovca.exceptions',
    'ovca.cli.base',
    'ovca.remaster.operations',
    'ovca.power.base',
    'ovca.power.fake',
    'ovca.image.fetch.base',
    'ovca.provision.base',
    'ovca.provision.site.base',
    'ovca.remaster.checks',
    'ovca.remaster.components',
    'ovca.cluster.health',
    'ovca.cluster.roles',
    'ovca.backup.base',
    'ovca.notify.base',
    'ovca.lab.lab',
    'ovca.testing',
    'ovca.testing.appliance',
    'ovca.testing.contracts',
    'ovca.testing.distributions',
    FIXTURES,
)
WRITTEN_BY_DRIVERS = {
    *('_state', '_on', '_off', '_set_boot_once', '_insert_media', '_eject_media', '_foreign', '_explain', '_situation'),
    *('_open', '_send', '_save', '_restore'),
}
"""Private names that belong to the promise: a driver defines them."""
ADVICE = """
The API for plugins changed. If that was not meant, take it back. If it was:
  1. Is it more than an addition? Then raise the API number of its group, or announce the removal first:
     doc/source/plugins/promise.rst says how.
  2. Write a release note.
  3. OVCA_WRITE_API=1 pytest tests/unit/plugins/test_api.py, and commit tests/unit/plugins/api.txt.
"""


def described() -> Iterator[str]:
    """The public names of the public modules, each with its parameters."""
    for name in MODULES:
        module = importlib.import_module(name)
        yield name
        for public in sorted(module.__all__):
            yield from (f'  {line}' for line in _described(module, public))


def _described(module: ModuleType, name: str) -> Iterator[str]:
    found = getattr(module, name)
    if module.__name__ == FIXTURES:  # what a fixture is made of is pytest's matter, and differs between its releases
        yield name
    elif isinstance(found, FunctionType):
        yield f'{name}{_parameters(found)}'
    elif not isinstance(found, type):
        yield f'{name} = {_value(found)}' if isinstance(found, int | str) else name
    else:
        bases = ', '.join(base.__name__ for base in found.__bases__ if base is not object)
        yield f'class {name}({bases})' if bases else f'class {name}'
        if issubclass(found, enum.Enum):
            yield from (f'  {member.name} = {member.value!r}' for member in found)
        else:
            yield from (f'  {line}' for line in sorted(_members(found)))


def _members(kind: type) -> Iterator[str]:
    private_bases = [each for each in kind.__mro__ if each.__module__ == kind.__module__ and each.__name__[0] == '_']
    seen: set[str] = set()
    for each in (kind, *private_bases):
        for name, found in vars(each).items():
            private = name.startswith('_') and name not in WRITTEN_BY_DRIVERS
            if name in seen or (private and not (name == '__init__' and isinstance(found, FunctionType))):
                continue
            seen.add(name)
            function = found.__func__ if isinstance(found, classmethod | staticmethod) else found
            if isinstance(function, FunctionType):
                yield f'{name}{_parameters(function)}'
            elif isinstance(found, property):
                yield f'{name} -> {found.fget.__annotations__.get("return", "")} (property)' if found.fget else name
            elif isinstance(found, int | str | float | frozenset | tuple | None):
                yield f'{name} = {_value(found)}'
        for name, annotation in vars(each).get('__annotations__', {}).items():
            if not name.startswith('_') and name not in seen:
                seen.add(name)
                yield f'{name}: {annotation}'


def _parameters(function: FunctionType) -> str:
    parts, star = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name.startswith('_'):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = True
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts, star = [*parts, '*'], True
        text = {parameter.VAR_POSITIONAL: '*', parameter.VAR_KEYWORD: '**'}.get(parameter.kind, '') + parameter.name
        if parameter.annotation is not parameter.empty:
            text += f': {parameter.annotation}'
        if parameter.default is not parameter.empty:
            text += f' = {_value(parameter.default)}'
        parts.append(text)
    returned = function.__annotations__.get('return')
    return f'({", ".join(parts)})' + (f' -> {returned}' if returned else '')


def _value(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return f'{type(value).__name__}.{value.name}'
    if callable(value):
        return f'{getattr(value, "__module__", "")}.{getattr(value, "__qualname__", value)}'
    if isinstance(value, frozenset):
        return '{' + ', '.join(sorted(map(_value, value))) + '}'
    return repr(value)


def test_what_authors_rely_on_is_as_promised() -> None:
    now = '\n'.join(described()) + '\n'
    if os.environ.get('OVCA_WRITE_API') == '1':
        FILE.write_text(now, encoding='utf-8')

    before = FILE.read_text(encoding='utf-8')

    gone = [f'- {line}' for line in before.splitlines() if line not in now.splitlines()]
    come = [f'+ {line}' for line in now.splitlines() if line not in before.splitlines()]
    assert now == before, '\n'.join([ADVICE, *gone, *come])


def test_the_page_of_the_promise_names_these_modules_and_no_others() -> None:
    rows = re.findall(r'^   \* - ``(ovca\.[a-z_.]+)``', PROMISE.read_text(encoding='utf-8'), re.MULTILINE)

    assert sorted(rows) == sorted(MODULES)


def test_what_a_plugin_imports_from_the_example_is_promised() -> None:
    example = Path(__file__).parents[3] / 'examples/ovca-plugin-hello'
    used: dict[str, set[str]] = {}
    for path in example.rglob('*.py'):
        for module, names in re.findall(r'^\s*from (ovca(?:\.\w+)*) import ([\w, ]+)$', path.read_text(), re.MULTILINE):
            used.setdefault(module, set()).update(name.strip() for name in names.split(','))

    for module, names in used.items():
        modules = {f'{module}.{name}' for name in names} & set(MODULES)
        assert module in MODULES or {f'{module}.{name}' for name in names} <= set(MODULES), f'{module}: {names}'
        if module in MODULES:
            public = set(importlib.import_module(module).__all__)
            assert names - public <= {name.rpartition('.')[2] for name in modules}, f'{module}: {names - public}'
