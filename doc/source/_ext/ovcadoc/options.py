"""The options of ``/etc/ovca.conf`` for its page of the manual; the HTML pages have oslo.config's own reference."""

from __future__ import annotations

from typing import Any

from ovca import conf
from ovcadoc import rst

WORDS = {
    'Boolean': 'yes or no',
    'Dict': 'pairs name:value, separated by commas',
    'Float': 'a number',
    'Integer': 'a whole number',
    'List': 'a list, separated by commas',
    'Port': 'a port',
    'String': 'a text',
}


def reference() -> str:
    """Return all groups of this package, each option with its kind, bounds and default."""
    return '\n'.join(
        rst.heading(f'[{group}]', '~') + '\n' + rst.definitions((f'**{o.dest}**', _explained(o)) for o in options)
        for group, options in conf.list_opts()
    )


def _explained(option: Any) -> str:
    facts = [_kind(option.type), f'default: {_default(option)}']
    if option.mutable:
        facts.append('taken over by a reload')
    text = rst.escaped(' '.join(str(option.help).split()))
    return f'{text} ({rst.escaped("; ".join(facts))})'


def _kind(kind: Any) -> str:
    choices = getattr(kind, 'choices', None)
    if choices:
        return f'one of {", ".join(map(str, choices))}'
    name = next((WORDS[c.__name__] for c in type(kind).__mro__ if c.__name__ in WORDS), None) or _named(kind.type_name)
    least, most = getattr(kind, 'min', None), getattr(kind, 'max', None)
    if least is not None and most is not None:
        return f'{name}, {least} to {most}'
    return f'{name}, {least} or more' if least is not None else name


def _named(words: str) -> str:
    """A type of its own by the name that it gives itself."""
    noun = words.removesuffix(' value')
    return f'{"an" if noun[0].lower() in "aeio" else "a"} {noun}'


def _default(option: Any) -> str:
    value = option.default if option.sample_default is None else option.sample_default
    if value is None or value == '' or value == [] or value == {}:
        return 'none'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, dict):
        return ','.join(f'{k}:{v}' for k, v in value.items())
    return ','.join(map(str, value)) if isinstance(value, list | tuple) else str(value)
