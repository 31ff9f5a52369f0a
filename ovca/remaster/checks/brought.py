"""The checks that an image brings: programs below its tree, run from there before anything is touched.

The manifest names them (``checks``), and only what the database remembers of the image counts: its list of checks, and
the digest of the list of files, against which a program is read again right before it runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ovca.db.models import Image, Node
from ovca.exceptions import OvcaError
from ovca.image.manifest import ListedFile, check_paths
from ovca.image.names import shown
from ovca.image.strictjson import UNREADABLE, harmless, loads, reason, typed
from ovca.program import ProgramFailed, Said
from ovca.program import run as run_program
from ovca.remaster.checks import HANGS, CheckContext, CheckResult, Result
from ovca.remaster.checks.image import listed_files
from ovca.remaster.checks.patience import NoAnswer, Patience

PREFIX = 'image:'
LIMIT = 64 * 1024
"""Bytes that a check may say."""
LONGEST = 500
"""Characters of a detail or a remedy."""
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
PROTOCOL = 1
"""The form of what a check is given and answers."""


def run(
    context: CheckContext, *, only: Collection[str] = (), damaged: bool = False, patience: Patience
) -> list[CheckResult]:
    """Run the checks of the image that is to be installed, in the manifest's order; none, if it brings none.

    Of an image that is ``damaged`` nothing is run.
    """
    if context.version is None:
        return []
    with context.database.read() as session:
        row = session.get(Image, context.version)
        nodes = list(session.scalars(select(Node).order_by(Node.name)))
    if row is None or not row.manifest.get('checks'):
        return []
    try:
        paths = check_paths(list(row.manifest['checks']))
    except (TypeError, ValueError) as exc:
        return [_failed(f'{PREFIX}manifest', f'the manifest of image {row.version} is wrong: {exc}', row)]
    wanted = [path for path in paths if not only or _id(path) in only]
    if damaged:
        return [CheckResult(_id(p), Result.SKIPPED, 'the image is damaged, and nothing of it is run') for p in wanted]
    if row.signed_by is None and context.conf.image.require_signature:
        told = f'image {row.version} is not signed, and nothing of it is run'
        return [_failed(_id(path), told, row, 'see [image] require_signature') for path in wanted]
    given = json.dumps(_facts(context, row, nodes)).encode()
    return [_bounded(context, row, path, given, patience) for path in wanted]


def _bounded(context: CheckContext, row: Image, path: str, given: bytes, patience: Patience) -> CheckResult:
    """Run one; its program has a limit of its own, which its storage does not know."""
    limit = context.conf.check.image_timeout + context.conf.check.timeout
    try:
        return patience.call(_id(path), partial(_run, context, row, path, given), limit)
    except NoAnswer as exc:
        return _failed(_id(path), str(exc), row, HANGS)


def _id(path: str) -> str:
    return PREFIX + path.rpartition('/')[2]


def _failed(id: str, detail: str, row: Image, remedy: str = '', **facts: Any) -> CheckResult:
    return CheckResult(
        id, Result.FAILED, detail, remedy or f'ask the maker of image {row.version}, then run `ovca check` again', facts
    )


def _facts(context: CheckContext, row: Image, nodes: list[Node]) -> dict[str, Any]:
    """What a check is told on its standard input."""
    own = next((node for node in nodes if node.name == context.conf.cluster.node_name), None)
    return {
        'protocol': PROTOCOL,
        'version': row.version,
        'running_version': own.running_version if own else None,
        'retry': context.retry,
        'node': context.conf.cluster.node_name,
        'nodes': [
            {'name': n.name, 'kind': n.kind, 'version': n.running_version, 'health': n.health, 'role': n.role}
            for n in nodes
        ],
    }


def _run(context: CheckContext, row: Image, path: str, given: bytes) -> CheckResult:
    id = _id(path)
    try:
        program = _program(context, row, path)
    except (OvcaError, OSError) as exc:
        text = exc.with_id if isinstance(exc, OvcaError) else f'{path} cannot be read: {exc.strerror}'
        return _failed(id, text, row, f'`ovca image-verify {row.version}` tells more')
    env = {'PATH': PATH, 'LANG': 'C.UTF-8', 'OVCA_TREE': str(_tree(context, row))}
    try:
        said = run_program([str(program)], given=given, env=env, timeout=context.conf.check.image_timeout, limit=LIMIT)
        return _judge(id, row, said)
    except ProgramFailed as exc:
        return _failed(id, f'the check {path} of image {row.version}: {exc}', row)
    except OSError as exc:
        where = f': {exc.filename}' if exc.filename else ''
        told = f'the check {path} of image {row.version} cannot be run: {exc.strerror}{where}'
        return _failed(id, told, row, 'make room there, then run `ovca check` again')


def _tree(context: CheckContext, row: Image) -> Path:
    from ovca.image import Store

    return Store.from_conf(context.conf).tree(row.version)


def _program(context: CheckContext, row: Image, path: str) -> Path:
    """The program, which was just now what the image's list says. :raises ImageError: it is not."""
    from ovca.image.errors import BundleError

    tree = _tree(context, row)
    listed, program = listed_files(context, row).get(f'mgmt_image/{path}'), tree / path
    if listed is None or program.resolve() != tree.resolve() / path or not _same(program, listed):
        raise BundleError(str(program), 'it is not the file that the image came with', id='bundle-damaged')
    return program


def _same(program: Path, listed: ListedFile) -> bool:
    descriptor = os.open(program, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, 'rb') as stream:
        state = os.fstat(stream.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size != listed.size:
            return False
        return hashlib.file_digest(stream, 'sha256').hexdigest() == listed.sha256


def _judge(id: str, row: Image, said: Said) -> CheckResult:
    """What a check's answer means. :raises ProgramFailed: it is none."""
    if said.status:
        how = f'status {said.status}' if said.status > 0 else f'signal {-said.status}'
        lines = said.err.decode(errors='replace').strip().splitlines() or ['it says nothing']
        raise ProgramFailed(f'{shown(lines[0])[:LONGEST]} ({how})')
    try:
        raw = loads(said.out)
        harmless(raw)
        result, detail = Result(typed(raw, 'result', str)), _line(raw, 'detail')
        remedy, facts = _line(raw, 'remedy', ''), typed(raw, 'facts', dict, {})
    except UNREADABLE as exc:
        raise ProgramFailed(f'its answer is not of the right form: {reason(exc)}') from exc
    if not detail:
        raise ProgramFailed('its answer has an empty detail')
    if result in (Result.FAILED, Result.WARNING) and not remedy:
        remedy = f'see the notes of image {row.version}'
    return CheckResult(id, result, detail, remedy, facts)


def _line(raw: dict[str, Any], key: str, *default: str) -> str:
    text = str(typed(raw, key, str, *default)).strip()
    if len(text) > LONGEST or '\n' in text or '\t' in text:
        raise ValueError(f'{key!r} is longer than {LONGEST} characters, or than one line')
    return shown(text)
