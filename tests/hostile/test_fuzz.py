"""No bytes at all make a server of a node wipe, tell a secret, fail, or leave honest nodes unserved.

What is promised is said in ``tests/fuzz/boot.py``. Hypothesis builds requests that are nearly right, and questions of
which all but a few facts are; atheris looks for bytes that reach new lines; the corpus keeps what was found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import boot
from tests.fuzz.driver import inputs, unpack
from tests.hostile.sockets import until

ROOT = Path(__file__).parents[2]
SECONDS = 3
KEPT = list(inputs('boot'))
together = pytest.mark.xdist_group('hostile-fuzz')
"""One appliance serves them all."""
often = settings(deadline=None, suppress_health_check=list(HealthCheck))


@together
@pytest.mark.parametrize('data', [data for _, data in KEPT], ids=[name for name, _ in KEPT])
def test_what_was_kept_does_no_harm(data: bytes) -> None:
    boot.check(data)


@together
def test_honest_nodes_are_served_afterwards() -> None:
    assert boot.siege().besieged.alive()


# Requests.

WORDS = st.sampled_from([
    b'mn2', b'1.1.0', b'x.iso', b'..', b'%2e%2e', b'%2f', b'%00', b'%ff', b'.ovca-site', b'site.json', b'?after=1', b'',
    b'52:54:00:00:00:02', b'x' * 300,
])  # fmt: skip
TOPS = st.sampled_from([b'boot', b'image', b'files', b'v1/grant', b'v1/written', b'v1/wake', b'v1/update', b'metrics'])
TARGETS = st.one_of(
    st.tuples(TOPS, st.lists(WORDS, max_size=5)).map(lambda parts: b'/' + b'/'.join([parts[0], *parts[1]])),
    st.sampled_from([b'*', b'/', b'//', b'http://else.where/', b'?', b'/\xc3\xbc', b'', b'a b']),
)
METHODS = st.sampled_from([b'GET', b'HEAD', b'POST', b'PUT', b'OPTIONS', b'CONNECT', b'TRACE', b'PRI', b'get', b'\0'])
HEADERS = st.sampled_from([
    b'Host: x', b'Host: [', b'Host:', b'host: a\r\nhost: b', b'Range: bytes=0-1', b'Range: bytes=9-1',
    b'Range: bytes=-', b'Range: bytes=0-1,2-3', b'Range: bytes=99999999999999999999-',
    b'If-Range: "a"', b'If-None-Match: *',
    b'Connection: Upgrade', b'Upgrade: websocket', b'Upgrade: h2c', b'Connection: close', b'Expect: 100-continue',
    b'Transfer-Encoding: chunked', b'Transfer-Encoding: gzip', b'Content-Length: 0', b'Content-Length: -1',
    b'Content-Length: 9', b'Content-Length: 99999999999999999999', b'X-Forwarded-For: ::1', b' folded', b'no colon',
    b'Accept-Encoding: gzip', b'\xff: \xff', b'A: ' + b'x' * 5000,
])  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b'{}', b'[]', b'5\r\nabcde\r\n0\r\n\r\n', b'ffffffffffffffff\r\n', b'0\r\n\r\n']),
)
VERSIONS = st.sampled_from([b'HTTP/1.1', b'HTTP/1.1', b'HTTP/1.0', b'HTTP/2.0', b'HTTP/1.10', b''])


def one(parts: tuple[bytes, bytes, bytes, list[bytes], bytes]) -> bytes:
    method, target, version, headers, body = parts
    return b'\r\n'.join([b' '.join([method, target, version]), *headers]) + b'\r\n\r\n' + body


REQUESTS = st.lists(
    st.tuples(METHODS, TARGETS, VERSIONS, st.lists(HEADERS, max_size=4), BODIES).map(one), min_size=1, max_size=3
).map(b''.join)


@together
@settings(often, max_examples=120)
@given(st.sampled_from([b'0', b'1', b'2']), REQUESTS)
def test_any_request_does_no_harm(server: bytes, data: bytes) -> None:
    boot.check(server + data)


@together
@settings(often, max_examples=80)
@given(
    st.sampled_from([data for _, data in KEPT]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4),
)
def test_any_request_with_other_bytes_does_no_harm(data: bytes, changes: list[tuple[int, bytes]]) -> None:
    changed = bytearray(data)
    for at, new in changes:
        changed[at : at + max(1, len(new))] = new
    boot.check(bytes(changed))


# Questions. The token is the right one here, so that a lie about anything else is all that stands between.

VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**80), 2**80), st.floats(), st.text(max_size=40),
    st.sampled_from(['mn1', 'mn2', 'mn3', 'b' * 64, '1', '', 'x' * 300, '5' * 31, 'mn2\0', '../mn2', [], {}, [1], 1.0]),
)  # fmt: skip
FACTS = ['node', 'update', 'attempt', 'digest', 'boot_token', 'nonce']


@together
@settings(often, max_examples=80)
@given(
    st.sampled_from(['grant', 'progress', 'written', 'failed']),
    st.dictionaries(st.sampled_from(FACTS), VALUES, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(['boot_id', 'percent', 'text', 'more']), VALUES, max_size=3),
)
def test_any_lie_about_any_fact_is_refused(name: str, lies: dict[str, Any], others: dict[str, Any]) -> None:
    siege = boot.siege()
    honest = siege.besieged.ask(siege.order)
    body = {**honest, **others, **lies}
    told = {fact for fact in lies if json.dumps(body[fact]) != json.dumps(honest[fact])} - {'nonce'}
    if not told and name == 'grant':
        body['boot_token'] = ''  # a lie that happens to be the truth is none

    status, answer = siege.besieged.post(name, body, siege.besieged.bare)

    assert status in (400, 403)
    assert len(answer) < 1000
    assert siege.besieged.wiped() == 0
    assert siege.watched.bad == []


@together
def test_the_fuzzing_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way out of the folder of images, which a kept input tries, is found."""
    import ovca.provision.boot

    kept = dict(KEPT)['image-traversal']
    boot.check(kept)
    monkeypatch.setattr(ovca.provision.boot, 'published_file', lambda images, version, name: images / version / name)

    def found() -> bool:
        try:
            boot.check(kept)
        except AssertionError:
            return True
        return False  # a server that is short of time may not have answered

    assert until(found)


@pytest.mark.extra('fuzz')
def test_atheris_finds_no_bytes_that_break_a_promise(tmp_path: Path) -> None:
    kept, found = unpack('boot', tmp_path / 'corpus'), tmp_path / 'found'
    found.mkdir()
    words = [f'-max_total_time={SECONDS}', '-timeout=60', '-rss_limit_mb=1024', f'-artifact_prefix={tmp_path}/']
    # The shell is there as libFuzzer counts the most memory that whoever started it ever had.
    program = [sys.executable, '-m', 'tests.fuzz.boot', *words, str(found), str(kept)]

    done = subprocess.run(['/bin/sh', '-c', '"$@"; exit $?', 'sh', *program], cwd=ROOT, capture_output=True, text=True)

    broken = [path.read_bytes() for path in tmp_path.glob('*-*') if path.is_file()]
    assert done.returncode == 0, f'{done.returncode}: {done.stderr[-3000:]}\nfor tests/corpus/boot: {broken}'
    assert 'Done ' in done.stderr
