"""What is judged before anything is trusted: the manifest's form, and who signed it for what."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minisign
import pytest

from ovca.exceptions import ConfigError, ImageError, UsageError
from ovca.image import signature
from ovca.image.build import keygen
from ovca.image.errors import SignatureRefused
from ovca.image.manifest import Manifest, parse_files

DIGEST = 'a' * 64
GOOD: dict[str, Any] = {
    'format': 1,
    'version': '1.1.0',
    'iso': {'name': 'ovca.iso', 'size': 2048, 'sha256': DIGEST},
    'files_digest': 'b' * 64,
}


def changed(**changes: Any) -> bytes:
    value = json.loads(json.dumps(GOOD))
    for key, new in changes.items():
        if key in ('name', 'size', 'sha256'):
            value['iso'][key] = new
        else:
            value[key] = new
    return json.dumps(value).encode()


def test_a_good_manifest_is_read() -> None:
    manifest = Manifest.parse(changed(update_from='1.0.0', stepping_stones=['1.0.5'], notes='new'), 'test')

    assert (manifest.version, manifest.update_from, manifest.stepping_stones) == ('1.1.0', '1.0.0', ('1.0.5',))
    assert Manifest.parse(json.dumps(manifest.as_dict()).encode(), 'test') == manifest


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\xff\xfe',
        b'[]',
        b'null',
        b'"manifest"',
        b'[' * 200_000,
        b'{"format": 1, "version": ' + b'[' * 200_000,
        changed(format=2),
        changed(format=[1]),
        changed(version='../../etc'),
        changed(version='..'),
        changed(version=''),
        changed(version=None, iso=None),
        changed(iso=[]),
        changed(name='../ovca.iso'),
        changed(name='/ovca.iso'),
        changed(name='manifest.json'),
        changed(name='a/b.iso'),
        changed(name='.iso'),
        changed(size=0),
        changed(size=-1),
        changed(size='x'),
        changed().replace(b'2048', b'1e999'),
        changed().replace(b'2048', b'NaN'),
        changed().replace(b'2048', b'9' * 5000),
        changed(sha256='A' * 64),
        changed(sha256='a' * 63),
        changed(sha256=DIGEST + '\n'),
        changed(files_digest=''),
        changed(files_digest=None),
        changed(components=7),
        changed(stepping_stones=7),
        changed(update_from='no version'),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_is_no_manifest_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ImageError):
        Manifest.parse(data, 'test')


@pytest.mark.parametrize('path', ['/etc/passwd', '../x', 'a/../b', 'a//b', './a', 'a\\b', 'a\0b', '', 'a/', '..'])
def test_a_list_with_a_path_that_leaves_its_folder_is_refused(path: str) -> None:
    listed = {'format': 1, 'files': [{'path': path, 'size': 0, 'sha256': DIGEST, 'mode': 420}]}

    with pytest.raises(ImageError):
        parse_files(json.dumps(listed).encode(), 'test')


@pytest.mark.parametrize(
    'data', [b'', b'[]', b'{}', b'{"files": 7}', b'{"files": [7]}', b'[' * 200_000, b'{"files": [{}]}']
)
def test_what_is_no_list_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ImageError):
        parse_files(data, 'test')


def test_a_list_with_a_size_beyond_numbers_is_refused() -> None:
    with pytest.raises(ImageError):
        parse_files(b'{"files": [{"path": "a", "size": 1e999}]}', 'test')


Sign = Callable[..., bytes]


@pytest.fixture
def sign(secret_key: Path) -> Sign:
    def run(
        data: bytes = b'manifest', *, version: str = '1.1.0', digest: str = DIGEST, key: Path = secret_key
    ) -> bytes:
        made = minisign.SecretKey.from_file(key).sign(data, trusted_comment=signature.comment(version, digest))
        return bytes(made) + b'\n'

    return run


def check(signed: bytes, folder: Path, data: bytes = b'manifest') -> str:
    return signature.check(data, signed, folder, version='1.1.0', digest=DIGEST, source='test')


def test_the_name_of_the_key_that_signed_is_told(sign: Sign, secret_key: Path, tmp_path: Path) -> None:
    keygen(secret_key.parent, 'another')

    assert check(sign(), secret_key.parent) == 'vendor.pub'


def test_a_signature_for_another_version_or_image_is_refused(sign: Sign, secret_key: Path) -> None:
    for signed in (sign(version='1.0.0'), sign(digest='c' * 64)):
        with pytest.raises(SignatureRefused, match='another version'):
            check(signed, secret_key.parent)


def test_a_trusted_comment_cannot_be_changed(sign: Sign, secret_key: Path) -> None:
    signed = sign(version='1.0.0')
    assert b'1.0.0' in signed

    with pytest.raises(SignatureRefused):
        check(signed.replace(b'1.0.0', b'1.1.0'), secret_key.parent)


def means(signed: bytes) -> list[bytes]:
    """What a signature file says: its two base64 lines decoded, its trusted comment as it is."""
    lines = signed.split(b'\n')
    try:
        return [base64.b64decode(lines[1]), lines[2], base64.b64decode(lines[3]), *lines[4:]]
    except (ValueError, IndexError):
        return lines


def test_each_changed_byte_of_a_signature_counts(sign: Sign, secret_key: Path) -> None:
    signed = sign()
    comment_ends = signed.index(b'\n')

    for position in range(comment_ends + 1, len(signed) - 1):
        bad = bytearray(signed)
        bad[position] = ord('A') if bad[position] != ord('A') else ord('B')
        if means(bytes(bad)) == means(signed):
            continue  # the last bits of a base64 line say nothing
        with pytest.raises(SignatureRefused):
            check(bytes(bad), secret_key.parent)


def test_each_changed_bit_of_the_data_counts(sign: Sign, secret_key: Path) -> None:
    with pytest.raises(SignatureRefused):
        check(sign(), secret_key.parent, b'manifesT')


@pytest.mark.parametrize('signed', [b'', b'\n\n\n\n', b'x' * 5000, b'\xff' * 200, b'untrusted comment: x\nQUFB\n'])
def test_what_is_no_signature_is_refused(signed: bytes, secret_key: Path) -> None:
    with pytest.raises(SignatureRefused):
        check(signed, secret_key.parent)


def test_without_a_key_nothing_is_trusted(sign: Sign, secret_key: Path, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()

    for folder in (tmp_path / 'empty', tmp_path / 'missing'):
        with pytest.raises(ConfigError, match='no public key'):
            check(sign(), folder)


def test_a_broken_key_is_named(sign: Sign, secret_key: Path) -> None:
    (secret_key.parent / 'broken.pub').write_text('not a key')

    with pytest.raises(ConfigError, match=r'broken\.pub'):
        check(sign(), secret_key.parent)


def test_a_key_is_never_overwritten_and_only_its_owner_reads_it(secret_key: Path) -> None:
    before = secret_key.read_bytes()

    with pytest.raises(UsageError):
        keygen(secret_key.parent, 'vendor')
    assert secret_key.read_bytes() == before
    assert secret_key.stat().st_mode & 0o777 == 0o600
