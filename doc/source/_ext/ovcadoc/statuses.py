"""The exit statuses, from the error tree."""

from __future__ import annotations

from ovca import exceptions
from ovca.cli.app import SIGPIPE_EXIT
from ovcadoc import rst

DONE = 'It was done. For an update: both nodes run the new image.'
GENERAL = 'An error of another kind, or a mistake in the program.'
NOBODY_READS = 'The reader of the output went away (``ovca ... | head``).'


def meanings() -> dict[int, str]:
    """What each exit status means; classes of errors that share one are named together."""
    found: dict[int, list[str]] = {0: [DONE], exceptions.OvcaError.exit_code: [GENERAL]}
    for kind in vars(exceptions).values():
        is_error = isinstance(kind, type) and issubclass(kind, exceptions.OvcaError)
        if is_error and kind is not exceptions.OvcaError and 'exit_code' in vars(kind):
            promise = rst.escaped((kind.__doc__ or '').strip().split('\n')[0])
            found.setdefault(kind.exit_code, []).append(promise)
    found.setdefault(SIGPIPE_EXIT, []).append(NOBODY_READS)
    return {status: ' '.join(texts) for status, texts in sorted(found.items())}


def table() -> str:
    """Return them as a table."""
    return rst.list_table(('status', 'meaning'), [(f'{s}', text) for s, text in meanings().items()], (10, 90))


def definitions() -> str:
    """Return them as a list, for a page of the manual."""
    return rst.definitions((f'**{status}**', text) for status, text in meanings().items())
