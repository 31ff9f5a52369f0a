"""What is wrong with a configuration. Pure: it looks at what was read, and touches nothing.

:func:`ovca.conf.load` refuses the first failure; ``ovca config-check`` shows all of them.
"""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from ovca.conf.files import Source
from ovca.conf.masking import masked
from ovca.conf.together import RULES, Rule


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


def flaw(option: cfg.Opt, value: Any) -> str | None:
    """What is wrong with a value that its type accepts; None when nothing is."""
    if value is None and option.required:
        return 'it must be set'
    if value is None and option.default is not None and isinstance(option, cfg.IntOpt | cfg.FloatOpt | cfg.PortOpt):
        return 'it is empty; write a number, or take the line out'
    if isinstance(value, float) and not math.isfinite(value):
        return f'{value} is not a number of seconds'
    return None


def reason(option: cfg.Opt, exc: Exception) -> str:
    """Why a value is refused, without oslo.config's talk of locations, and without a secret."""
    dollar = isinstance(exc, cfg.TemplateSubstitutionError | cfg.NoSuchOptError | cfg.NoSuchGroupError)
    if option.secret:
        text = 'its value cannot be used'
    else:
        text = str(exc).partition(' is not valid: ')[2] or str(exc)
    hint = '; a dollar sign refers to another option, write $$ for the sign itself' if dollar else ''
    return f'{masked(text)}{hint}'


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
