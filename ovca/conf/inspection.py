"""What is wrong with a configuration. Pure: it looks at what was read, and touches nothing.

:func:`ovca.conf.load` refuses the first failure; ``ovca config-check`` shows all of them.
"""

from __future__ import annotations

import difflib
import enum
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg, types

from ovca.conf.files import Source
from ovca.conf.masking import masked
from ovca.conf.together import RULES, Rule
from ovca.conf.types import DATABASE

_PYTHON = re.compile(
    r'((?P<whole>invalid literal for int\(\) with base 10)|could not convert string to float): (?P<value>.*)'
)
"""What Python says of a text that is no number."""


class Result(enum.Enum):
    """How one look at the configuration ended."""

    PASSED = 'passed'
    WARNING = 'warning'
    FAILED = 'failed'
    SKIPPED = 'skipped'


@dataclass(frozen=True)
class Finding:
    """One look at the configuration; as a text it is a sentence for the operator."""

    where: str
    detail: str
    remedy: str = ''
    result: Result = Result.FAILED
    id: str = 'config'

    @property
    def failed(self) -> bool:
        return self.result is Result.FAILED

    def __str__(self) -> str:
        return '; '.join(text for text in (f'{self.where}: {self.detail}', self.remedy) if text)


def overview(path: str, sources: Sequence[Source], findings: Sequence[Finding]) -> list[Finding]:
    """One line for each file in which nothing is wrong, and one for a site's file that is not there."""
    wrong = {finding.where for finding in findings if finding.failed}
    found = []
    for source in sources:
        if source.path not in wrong:
            count = sum(len(options) for options in source.sections.values())
            found.append(Finding(source.path, f'sets {count} options', '', Result.PASSED))
    if path not in {source.path for source in sources} | wrong:
        detail = 'does not exist; every option that no vendor sets has its default'
        found.append(Finding(path, detail, 'write it; `ovca config-sample` explains all options', Result.WARNING))
    return found


def names(source: Source, known: Mapping[str, Iterable[str]], others: Iterable[str] = ()) -> list[Finding]:
    """The groups and options in a file that do not exist; oslo.config would ignore them.

    ``known`` are the names that each group may hold, ``others`` groups that exist and are not to be looked into.
    """
    found = []
    for group, options in source.sections.items():
        if group in others or (group == 'DEFAULT' and not options):  # oslo.config's generator writes its heading
            continue
        if group not in known:
            found.append(no_group(source.path, group, [*known, *others]))
            continue
        found += [no_option(source.path, group, name, known[group]) for name in options if name not in known[group]]
    return found


def no_group(where: str, group: str, known: Iterable[str]) -> Finding:
    """There is no group of this name."""
    return Finding(where, f'there is no group [{group}]', _hint(group, known), id='config-unknown')


def no_option(where: str, group: str, name: str, known: Iterable[str]) -> Finding:
    """The group has no option of this name."""
    return Finding(where, f'[{group}] has no option {name}', _hint(name, known), id='config-unknown')


def _hint(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), sorted(known), 1) if word != 'DEFAULT' else []
    return f'did you mean {close[0]}?' if close else 'see `ovca config-show` for all of them'


def twice(source: Source) -> list[Finding]:
    """Options that one file sets more than once; the last one counts, which is seldom what was meant."""
    return [
        Finding(source.path, f'[{group}] {name} is set {len(values)} times', 'keep one of them', Result.WARNING)
        for group, options in source.sections.items()
        for name, values in options.items()
        if len(values) > 1
    ]


def passwords(source: Source, known: Mapping[str, Sequence[cfg.Opt]]) -> list[str]:
    """The options in a file whose values must not be seen."""
    secret = {f'{group}.{opt.dest}' for group, options in known.items() for opt in options if opt.secret}
    return [
        f'[{group}] {name}'
        for group, options in source.sections.items()
        for name, values in options.items()
        if any(masked(value, secret=f'{group}.{name}' in secret) != value for value in values)
    ]


def nodes(where: str, values: Mapping[str, Any]) -> list[Finding]:
    """What the configuration leaves out between two nodes; it works without, but worse."""
    found = []
    names = [values.get('cluster.node_name'), values.get('cluster.peer')]
    if not all(names):
        return []
    macs = values.get('provision.mac', {})
    missing = [str(node) for node in names if node not in macs]
    if macs and missing:
        detail = f'[provision] mac names no network card for {missing[0]}, so the boot service may not know it'
        remedy = f'add {missing[0]}:<address>, or set it with `ovca node-set`'
        found.append(Finding(where, detail, remedy, Result.WARNING))
    addresses = values.get('provision.boot_address', {})
    unbound = [str(node) for node in names if node not in addresses]
    if addresses and unbound:
        detail = f'[provision] boot_address names no address for {unbound[0]}, so any machine can ask in its place'
        found.append(Finding(where, detail, f'add {unbound[0]}:<address>', Result.WARNING))
    if not values.get('cluster.peer_url', True):
        detail = '[cluster] peer_url is not set, so the checks do not see the machine of the other node'
        found.append(Finding(where, detail, "set it to the URL of the other node's status server", Result.WARNING))
    return found


def flaw(option: cfg.Opt, value: Any) -> str | None:
    """What is wrong with a value that its type accepts; None when nothing is."""
    if value is None and option.required:
        return 'it must be set'
    if value is None and option.default is not None and isinstance(option, cfg.IntOpt | cfg.FloatOpt | cfg.PortOpt):
        return 'it is empty'
    if isinstance(value, float) and not math.isfinite(value):
        return f'{value} is not a number of seconds'
    return None


def remedy(option: cfg.Opt) -> str:
    """What an option's value has to be, where its type does not say so itself."""
    kind = option.type
    if isinstance(kind, types.Number):
        bounds = [f'{word} {bound:g}' for word, bound in (('from', kind.min), ('to', kind.max)) if bound is not None]
        return ' '.join([f'write a {"whole " if isinstance(kind, types.Integer) else ""}number', *bounds])
    if kind is DATABASE:  # of which no more is told: it may hold a password
        return 'write sqlite:////path/ovca.sqlite or postgresql://user:password@host/name'
    if isinstance(kind, types.HostAddress):
        return 'write the IP address or the name of a host, as 192.0.2.11'
    return 'write true or false' if isinstance(kind, types.Boolean) else ''


def reason(option: cfg.Opt, exc: Exception) -> str:
    """Why a value is refused, without oslo.config's talk of locations, and without a secret."""
    dollar = isinstance(exc, cfg.TemplateSubstitutionError | cfg.NoSuchOptError | cfg.NoSuchGroupError)
    if option.secret:
        text = 'its value cannot be used'
    else:
        text = _PYTHON.sub(_in_words, str(exc).partition(' is not valid: ')[2] or str(exc))
    hint = '; a dollar sign refers to another option, write $$ for the sign itself' if dollar else ''
    return f'{masked(text)}{hint}'


def _in_words(found: re.Match[str]) -> str:
    return f'{found["value"]} is no {"whole " if found["whole"] else ""}number'


def conflicts(where: str, values: Mapping[str, Any], rules: Sequence[Rule] = RULES) -> list[Finding]:
    """The rules between options that do not hold; ``values`` are by ``group.option``.

    A rule of which a value is missing, because it is wrong by itself, is left out.
    """
    found = []
    for rule in rules:
        given = [values[name] for name in rule.options if name in values]
        if len(given) == len(rule.options) and not rule.holds(*given):
            found.append(Finding(where, f'{listed(rule.options, given)} {rule.why}', rule.remedy, id='config-conflict'))
    return found


def listed(options: Sequence[str], values: Sequence[Any]) -> str:
    """Options and their values as a sentence begins: ``[a] x = 1, y = 2 and [b] z = 3``."""
    parts, before = [], ''
    for name, value in zip(options, values, strict=True):
        group, _, option = name.partition('.')
        shown = f'{value:g}' if isinstance(value, float) else value
        parts.append(f'{f"[{group}] " if group != before else ""}{option} = {shown}')
        before = group
    return ' and '.join(filter(None, [', '.join(parts[:-1]), parts[-1]]))
