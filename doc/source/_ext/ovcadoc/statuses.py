"""The exit statuses, from the error tree."""

from __future__ import annotations

from ovca.exceptions import exit_statuses
from ovcadoc import rst


def table() -> str:
    """Return them as a table."""
    return rst.list_table(('status', 'meaning'), [(f'{s}', rst.escaped(text)) for s, text in exit_statuses()], (10, 90))


def definitions() -> str:
    """Return them as a list, for a page of the manual."""
    return rst.definitions((f'**{status}**', rst.escaped(text)) for status, text in exit_statuses())
