"""A page for each error that an operator may see, from the same files that ``ovca help`` shows."""

from __future__ import annotations

from ovca import pages as package
from ovcadoc import rst


def index() -> str:
    """Return all errors by their ids, each with its situation and the way to its page."""
    rows = [(f':error:`{id}`', _title(id)) for id in package.ids()]
    return rst.list_table(('id', 'situation'), rows, (30, 70))


def pages() -> dict[str, str]:
    """Return the pages by their files' names; each is found by its id, in the index and by search."""
    return {f'errors/{id}.rst': _page(id) for id in package.ids()}


def _page(id: str) -> str:
    lines = _text(id).splitlines()
    shown = f'The sentence ends with ``[{id}]``; ``ovca help {id}`` prints this page.'
    back = 'Back to :doc:`all errors </errors>`.'
    # In no table of contents: with hundreds of entries more, each page would carry them, and the build take five times.
    return '\n'.join([':orphan:', '', f'.. error-id:: {id}', '', *lines[:2], '', shown, *lines[2:], '', back, ''])


def _title(id: str) -> str:
    return _text(id).split('\n')[0]


def _text(id: str) -> str:
    return package.page(id) or ''
