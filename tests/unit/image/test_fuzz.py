"""No input at all makes the readers of images fail in another way than they promise, or work without end.

Hypothesis builds what is nearly right and then lies in places; atheris looks for inputs that reach new lines; the
corpus keeps what was found. What is promised is said in ``tests/fuzz``.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import isomaker
from tests.fuzz import bundle, iso, manifest
from tests.fuzz.driver import inputs, unpack

ROOT = Path(__file__).parents[3]
SECONDS = 8
CHECKS: dict[str, Callable[[bytes], None]] = {
    'bundle': bundle.check,
    'iso': iso.check,
    'manifest': manifest.check,
}
TARGETS = tuple(CHECKS)
KEPT = [(target, name, data) for target in TARGETS for name, data in inputs(target)]
often = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(('target', 'data'), [(t, d) for t, _, d in KEPT], ids=[f'{t}-{n}' for t, n, _ in KEPT])
def test_what_was_found_before_keeps_its_promise(target: str, data: bytes) -> None:
    CHECKS[target](data)


@pytest.mark.extra('fuzz')
@pytest.mark.parametrize('target', TARGETS)
def test_atheris_finds_no_input_that_breaks_a_promise(target: str, tmp_path: Path) -> None:
    kept, found = unpack(target, tmp_path / 'corpus'), tmp_path / 'found'
    found.mkdir()

    words = [f'-max_total_time={SECONDS}', '-timeout=60', '-rss_limit_mb=1024', f'-artifact_prefix={tmp_path}/']
    # libFuzzer judges the most memory that its process ever had, and a process begins with the most of the one that
    # started it: of the shell here, and not of the tests.
    program = [sys.executable, '-m', f'tests.fuzz.{target}', *words, str(found), str(kept)]
    done = subprocess.run(['/bin/sh', '-c', '"$@"; exit $?', 'sh', *program], cwd=ROOT, capture_output=True, text=True)

    broken = [path.read_bytes() for path in tmp_path.glob('*-*') if path.is_file()]
    assert done.returncode == 0, (
        f'{done.returncode}: {done.stderr[-3000:]}\nthe input, for tests/corpus/{target}: {broken}'
    )
    assert 'Done ' in done.stderr


# Bytes that were changed.


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with some bytes set, a piece taken out or doubled, or an end cut off."""
    result = bytearray(data)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(result) - 1)))
        match draw(st.sampled_from(['set', 'number', 'delete', 'double', 'cut'])):
            case 'set':
                result[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 'number':
                value = draw(st.sampled_from([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
                result[at : at + 4] = value.to_bytes(4, 'little')
            case 'delete':
                del result[at : at + draw(st.integers(1, 40))]
            case 'double':
                result[at:at] = result[at : at + draw(st.integers(1, 40))]
            case 'cut':
                del result[at:]
    return bytes(result)


# Bundles.

NAMES = st.sampled_from(
    ['manifest.json', 'manifest.json.minisig', 'files.json', 'a.iso', 'A.ISO', '../x', 'a/b', 'ü', '']
)


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            written.extend(data)
            return len(data)

    written = bytearray()
    stream: Any = Pipe() if draw(st.booleans()) else io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        archive.comment = draw(st.binary(max_size=30))
        for name in draw(st.lists(NAMES, max_size=5, unique=True)):
            info = zipfile.ZipInfo(name)
            info.compress_type = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
            info.external_attr = draw(st.sampled_from([0, 0o644, 0o100644, 0o120777, 0o40755])) << 16
            data = draw(st.binary(max_size=40)) * draw(st.sampled_from([0, 1, 100]))
            with archive.open(info, 'w', force_zip64=draw(st.booleans())) as member:
                member.write(data)
    return bytes(written) or stream.getvalue()


@often
@given(st.data())
def test_any_zip_is_read_or_refused(data: st.DataObject) -> None:
    bundle.check(data.draw(changed(data.draw(zips()))))


@often
@given(st.dictionaries(st.sampled_from(['a', 'b', 'manifest.json']), st.binary(max_size=3000)), st.integers(1, 5000))
def test_an_honest_zip_is_read_whatever_its_pieces(members: dict[str, bytes], size: int) -> None:
    from ovca.image.bundle import Bundle

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    data = stream.getvalue()

    reader = Bundle((data[at : at + size] for at in range(0, len(data), size)), 'a.zip')
    found = {}
    while members and (member := reader.next()) is not None:
        found[member.name] = b''.join(map(bytes, reader.content(2**20)))

    assert found == members


# Images.

SECTORS = st.sampled_from([0, 16, 18, 20, 20, 21, 22, 23, 24, 25, 26, 30, 40, 41, 63, 64, 0xFFFFFFFF])
SIZES = st.sampled_from([0, 1, 7, 100, 2047, 2048, 2049, 4096, 9000, 0x7FFFFFFF, 0xFFFFF800, 0xFFFFFFFF])
TEXTS = st.one_of(st.sampled_from([b'a', b'b', b'boot', b'..', b'.', b'', b'/', b'rr_moved']), st.binary(max_size=20))
NUMBERS = st.one_of(SECTORS, st.integers(0, 2**32 - 1))


def fields() -> st.SearchStrategy[bytes]:
    one = st.one_of(
        TEXTS.flatmap(lambda text: st.sampled_from([0, 0, 0, 1, 2, 4]).map(lambda flags: isomaker.named(text, flags))),
        st.sampled_from([isomaker.FILE, isomaker.FOLDER, isomaker.LINK, isomaker.mode(0o20666)]),
        st.tuples(TEXTS, st.sampled_from([0, 0, 1, 2, 4, 8, 16])).map(lambda p: isomaker.link(isomaker.part(*p))),
        st.tuples(st.sampled_from([30, 40, 41, 63]), st.sampled_from([0, 28, 2000]), SIZES).map(
            lambda p: isomaker.further(*p)
        ),
        st.tuples(st.sampled_from([b'CL', b'PL']), SECTORS).map(lambda p: isomaker.field(p[0], isomaker.both(p[1]))),
        st.sampled_from(
            [isomaker.field(b'RE'), isomaker.field(b'ST'), isomaker.field(b'ZF', bytes(12)), b'\0', b'NM\2']
        ),
    )
    return st.lists(one, max_size=4).map(lambda parts: b''.join(parts)[:190])


RECORDS = st.one_of(
    st.builds(isomaker.file, TEXTS, SECTORS, SIZES, fields(), st.sampled_from([0, 0, 0, 1, 0x80])).filter(
        lambda record: len(record) < 256
    ),
    st.builds(isomaker.folder, TEXTS, st.integers(21, 27), st.sampled_from([2048, 2048, 4096]), fields()),
    st.builds(isomaker.record, TEXTS.filter(len), SECTORS, SIZES, st.sampled_from([0, 2, 0x80]), fields()),
)


class Image(bytes):
    """Bytes that are shown packed."""

    def __repr__(self) -> str:
        return f'Image(zlib.decompress(base64.b85decode({base64.b85encode(zlib.compress(self, 9))!r})))'


ISOS = [Image(data) for target, _, data in KEPT if target == 'iso']


@st.composite
def images(draw: st.DrawFn) -> Image:
    lists = st.lists(RECORDS, max_size=5)
    others = {sector: isomaker.listing(sector, 20, *draw(lists), above=draw(fields())) for sector in range(21, 28)}
    areas = {sector: draw(fields()) for sector in (30, 40, 41)}
    joliet = draw(st.sampled_from([None, None, 21]))
    return Image(isomaker.image(draw(lists), others | areas, rock_ridge=draw(st.booleans()), joliet=joliet))


@settings(often, max_examples=150)
@given(images())
def test_any_records_are_read_or_refused(data: bytes) -> None:
    iso.check(data)


@often
@given(st.sampled_from(ISOS), st.randoms(), st.integers(1, 8))
def test_any_image_of_another_writer_with_other_numbers_is_read_or_refused(
    data: bytes, chance: Any, changes: int
) -> None:
    for _ in range(changes):
        data = iso.mutate(data, chance)

    iso.check(data)


@often
@given(st.data())
def test_any_image_of_another_writer_with_other_bytes_is_read_or_refused(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(ISOS))

    # Where the structures are; the changes are many, so that some of them hit.
    iso.check(whole[: 16 * 2048] + data.draw(changed(whole[16 * 2048 :])))


# Manifests.

JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
        st.sampled_from(['1.1.0', 'a.iso', '0' * 64, '../x', 'a/b', '/abs', 'mgmt_image/a', 'x' * 300, 1, 0, 2**60]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ROW = {'path': 'mgmt_image/a', 'size': 7, 'sha256': '0' * 64, 'mode': 0o644, 'link': None}
DOCUMENTS = [
    {'format': 1, 'files': [ROW, {**ROW, 'path': 'b'}]},
    *[json.loads(data) for target, name, data in KEPT if name in ('manifest.json', 'manifest-least.json')],
]


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A document in which some values were exchanged, left out or added."""
    document: Any = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    for _ in range(draw(st.integers(0, 3))):
        place = document
        while True:
            keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.booleans()):
                if draw(st.integers(0, 4)) == 0:
                    del place[key]
                else:
                    place[key] = draw(JSON)
                break
            place = place[key]
    return json.dumps(document).encode()


@often
@given(documents())
def test_any_document_is_read_or_refused(data: bytes) -> None:
    manifest.check(data)


@often
@given(st.data())
def test_any_bytes_in_a_document_are_read_or_refused(data: st.DataObject) -> None:
    manifest.check(data.draw(changed(data.draw(documents()))))


@pytest.mark.parametrize('target', TARGETS)
def test_the_checks_would_notice(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lets everything through is found by the kept inputs."""
    module = importlib.import_module('ovca.image.names')
    ours = [data for kept, _, data in KEPT if kept == target]
    for data in ours:
        CHECKS[target](data)

    monkeypatch.setattr(module, 'flaw', lambda name: 'is never right')

    with pytest.raises(AssertionError):
        for data in ours:
            CHECKS[target](data)
