"""Downloads as an operator sees them: which there are, and how one is aborted."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovca.db import events
from ovca.db.engine import now
from ovca.db.models import UNFINISHED, Request
from ovca.exceptions import ImageError, Refused, UsageError
from ovca.image.fetch import redacted
from ovca.remaster import reading
from ovca.remaster.views import DownloadView

KINDS = ('download', 'update')


def found(session: Session, *, limit: int) -> list[DownloadView]:
    """Return the newest downloads, the newest first."""
    rows = session.scalars(select(Request).where(Request.kind.in_(KINDS)).order_by(Request.id.desc()).limit(limit))
    return [reading.download(row) for row in rows]


def unfinished(session: Session, id: int | None) -> DownloadView:
    """Return the download with the id, or the one that is running or waits longest.

    :raises UsageError: there is no such download. :raises Refused: it has ended.
    """
    if id is None:
        waiting = select(Request).where(Request.state.in_(UNFINISHED), Request.kind.in_(KINDS))
        row = session.scalars(waiting.order_by(Request.state.desc(), Request.id).limit(1)).one_or_none()
    else:
        row = session.get(Request, id)
    if row is None or row.kind not in KINDS:
        what = 'no download is running or waiting' if id is None else f'there is no download {id}'
        raise UsageError(f'{what}; see `ovca download-list`', id='no-download')
    if row.state not in UNFINISHED:
        raise _ended(row)
    return reading.download(row)


def abort(session: Session, id: int, *, who: str) -> None:
    """Remove a download that waits, or have a running one stopped.

    :raises Refused: it has ended.
    """
    row = session.get_one(Request, id, with_for_update=True)
    if row.state not in UNFINISHED:
        raise _ended(row)
    if row.state == 'open':
        row.state, row.finished_at = 'failed', now(session)
        row.error = f'the download was aborted by {who} before it began'
        row.result, row.exit_code = {'error_id': 'download-aborted'}, ImageError.exit_code
        if row.args.get('uri'):
            row.args = {**row.args, 'uri': redacted(row.args['uri'])}
    else:
        row.cancel_requested = True
        row.args = {**row.args, 'aborted_by': who}
    events.append(session, kind='image', detail=f'download {id} was aborted by {who}', actor=who)


def _ended(row: Request) -> Refused:
    return Refused(f'download {row.id} has ended already ({row.state}); see `ovca download-list`', id='download-ended')
