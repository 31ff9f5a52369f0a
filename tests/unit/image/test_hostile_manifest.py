"""A manifest or a list of files that lies is refused, in a sentence that says where; what is only unknown is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ovca.image.errors import BundleError
from ovca.image.limits import Limits
from ovca.image.manifest import LIMIT, ListedFile, Manifest, agree, parse_files

DIGEST = '0123456789abcdef' * 4
GOOD: dict[str, Any] = {
    'format': 1,
    'version': '1.1.0',
    'iso': {'name': 'ovca-1.1.0.iso', 'size': 4096, 'sha256': DIGEST},
    'files_digest': DIGEST,
}
ROW: dict[str, Any] = {'path': 'mgmt_image/etc/hosts', 'size': 7, 'sha256': DIGEST, 'mode': 0o644}


def manifest(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def iso(**changes: Any) -> dict[str, Any]:
    return {**GOOD['iso'], **changes}


def rows(*changes: dict[str, Any]) -> bytes:
    return json.dumps({'format': 1, 'files': [{**ROW, **change} for change in changes]}).encode()


def refused(data: bytes, sentence: str, id: str = 'not-a-bundle') -> None:
    with pytest.raises(BundleError, match=sentence) as error:
        Manifest.parse(data, 'a.zip')
    assert error.value.id == id


def list_refused(data: bytes, sentence: str, id: str = 'not-a-bundle', limits: Limits | None = None) -> None:
    with pytest.raises(BundleError, match=sentence) as error:
        parse_files(data, 'a.zip', limits or Limits())
    assert error.value.id == id


# JSON.


@pytest.mark.timeout(60)
def test_a_manifest_of_many_keys_is_refused_before_it_has_cost_much() -> None:
    # It is read before its signature can be. To look for each key among all others would take half an hour.
    keys = [f'"{number}":0' for number in range(LIMIT // 12)]
    data = f'{{{",".join([*keys, keys[-1]])}}}'.encode()
    assert len(data) <= LIMIT

    refused(data, 'is there twice')


@pytest.mark.parametrize(
    ('data', 'sentence'),
    [
        (b'', 'Expecting value'),
        (b'\xff', "can't decode"),
        (b'\xef\xbb\xbf{}', 'BOM'),
        (b'[]', 'it is no object'),
        (b'"text"', 'it is no object'),
        (b'{"format": 1, "format": 1}', "'format' is there twice"),
        (b'{"format": 1, "iso": {"size": 1, "size": 2}}', "'size' is there twice"),
        (b'{"format": NaN}', 'NaN is no number'),
        (b'{"format": -Infinity}', 'Infinity is no number'),
        (b'{"format": 1, "later": 1e999}', 'a number is too large'),
        (b'{"format": 1' + b'0' * 5000 + b'}', 'a number is too large'),
        (b'[' * 100_000, 'nested without end'),
        (b'{"format": 1, "x": ' * 17 + b'1' + b'}' * 17, 'nested deeper than 16'),
        (b'{}', "'format' is missing"),
    ],
)
def test_json_that_is_not_what_it_looks_like_is_refused(data: bytes, sentence: str) -> None:
    refused(data, sentence)


@pytest.mark.parametrize(
    'data', [b'{"files": [], "files": []}', b'{"files": NaN}', b'[' * 100_000, b'\xff', b'{}', b'[]']
)
def test_a_list_is_read_as_strictly(data: bytes) -> None:
    list_refused(data, 'files.json cannot be read')


# The manifest.


@pytest.mark.parametrize('value', [2, 0, True, 1.0, '1', None, []])
def test_another_format_is_refused(value: Any) -> None:
    refused(manifest(format=value), 'the manifest has format', 'bundle-too-new')


@pytest.mark.parametrize('name', list(GOOD))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    refused(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode(), f"'{name}' is missing")


@pytest.mark.parametrize(
    ('field', 'value', 'sentence'),
    [
        ('version', 1.1, "'version' is no text"),
        ('version', '../../etc', 'is not a version'),
        ('version', '', 'is not a version'),
        ('version', 'v' * 200, 'is not a version'),
        ('iso', [], "'iso' is no object"),
        ('iso', iso(size='4096'), "'size' is no whole number"),
        ('iso', iso(size=4096.0), "'size' is no whole number"),
        ('iso', iso(size=True), "'size' is no whole number"),
        ('iso', iso(size=-1), "'size' cannot be -1"),
        ('iso', iso(size=2**50 + 1), "'size' cannot be"),
        ('iso', iso(size=0), 'names no usable ISO'),
        ('iso', iso(name='../a.iso'), 'names no usable ISO'),
        ('iso', iso(name='a.img'), 'names no usable ISO'),
        ('iso', iso(name='-o.iso'), 'names no usable ISO'),
        ('iso', iso(sha256='z' * 64), 'not SHA-256 in hex'),
        ('iso', iso(sha256=DIGEST.upper()), 'not SHA-256 in hex'),
        ('iso', iso(sha256=DIGEST[1:]), 'not SHA-256 in hex'),
        ('files_digest', '', 'not SHA-256 in hex'),
        ('files_digest', None, "'files_digest' is no text"),
        ('update_from', 1, "'update_from' is no text"),
        ('update_from', '/', 'is not a version'),
        ('downgrade_to', '..', 'is not a version'),
        ('accept_downgrade', 'no', "'accept_downgrade' is no truth value"),
        ('accept_downgrade', 0, "'accept_downgrade' is no truth value"),
        ('stepping_stones', '1.0.5', "'stepping_stones' is no list"),
        ('stepping_stones', [1], 'a version is no text'),
        ('stepping_stones', ['a b'], 'is not a version'),
        ('notes', ['text'], "'notes' is no text"),
        ('notes', '\x1b]0;owned\x07', 'control characters'),
        ('notes', 'a\0b', 'control characters'),
        ('notes', '\ud800', 'control characters'),
        ('later', {'deep': ['\x1b[2J']}, 'control characters'),
        ('components', [], "'components' is no object"),
        ('components', {'mgmt': []}, "'mgmt' is no component"),
        ('components', {'../x': {}}, 'is no component'),
        ('components', {'mgmt': {'files': -1}}, "'files' cannot be -1"),
        ('components', {'mgmt': {'size': 1.5}}, "'size' is no whole number"),
        ('components', {'mgmt': {'verify': ['rm']}}, "'verify' is no text"),
    ],
)
def test_a_field_that_lies_is_refused(field: str, value: Any, sentence: str) -> None:
    refused(manifest(**{field: value}), sentence)


def test_what_is_not_known_is_kept() -> None:
    later = {'later': {'list': [1, 2.5, None, 'Größe']}, 'iso': iso(blocks=2), 'components': {'mgmt': {'vendor': 1}}}

    kept = Manifest.parse(manifest(**later), 'a.zip').as_dict()

    assert kept['later'] == later['later']
    assert kept['components'] == later['components']


def test_the_sentence_is_short_whatever_the_manifest_says() -> None:
    for data in (manifest(format='x' * LIMIT), b'{"%b": 1, "%b": 1}' % (b'k' * 10_000, b'k' * 10_000)):
        with pytest.raises(BundleError) as error:
            Manifest.parse(data, 'a.zip')
        assert len(str(error.value)) < 500


# The list of files.


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'path': 1}, "'path' is no text"),
        ({'size': -1}, "'size' cannot be -1"),
        ({'size': 2**60}, "'size' cannot be"),
        ({'size': 7.0}, "'size' is no whole number"),
        ({'size': '7'}, "'size' is no whole number"),
        ({'size': True}, "'size' is no whole number"),
        ({'sha256': DIGEST.upper()}, 'no SHA-256 in hex'),
        ({'sha256': ''}, 'no SHA-256 in hex'),
        ({'sha256': None}, 'no SHA-256 in hex'),
        ({'sha256': 'g' * 64}, 'no SHA-256 in hex'),
        ({'mode': '644'}, "'mode' is no whole number"),
        ({'mode': 0o100644}, 'a mode that no file has'),
        ({'link': 'elsewhere'}, 'a link and a file at once'),
        ({'link': 7, 'size': 0, 'sha256': ''}, "'link' is no text"),
    ],
)
def test_a_listed_file_that_lies_is_refused(change: dict[str, Any], sentence: str) -> None:
    list_refused(rows({}, {'path': 'other', **change}), sentence)


@pytest.mark.parametrize(
    'path',
    [
        '',
        '/',
        '/etc/passwd',
        '../x',
        'a/../../x',
        'a/./b',
        'a//b',
        'a/',
        'a\\b',
        'a\0b',
        'a\nb',
        'a\x1bb',
        'a\u2028b',
        '\ud800',
    ],
)
def test_a_path_that_no_file_of_an_image_has_is_refused(path: str) -> None:
    list_refused(rows({'path': path}), 'leaves its folder or', 'bundle-unsafe')


@pytest.mark.parametrize('link', ['', 'a\0b', 'a\nb', 'x' * 4096])
def test_a_link_that_points_nowhere_sensible_is_refused(link: str) -> None:
    list_refused(rows({'link': link, 'size': 0, 'sha256': ''}), 'which points', 'bundle-unsafe')


def test_files_that_cannot_be_there_together_are_refused() -> None:
    list_refused(rows({}, {}), 'lists a file twice')
    list_refused(rows({'path': 'a'}, {'path': 'a/b/c'}), "lists 'a' as a file and as a folder", 'bundle-unsafe')


@pytest.mark.parametrize('data', [b'{"files": [1]}', b'{"files": [[]]}', b'{"files": {}}', b'{"files": [null]}'])
def test_what_is_no_list_of_files_is_refused(data: bytes) -> None:
    list_refused(data, 'files.json cannot be read')


def test_another_format_of_the_list_is_refused() -> None:
    list_refused(b'{"format": 2, "files": []}', 'it has format 2, this ovca reads 1')


def test_names_of_linux_trees_are_taken() -> None:
    paths = ['mgmt_image/Größe', 'mgmt_image/x\\x2dy.slice', 'mgmt_image/xt_DSCP.ko', 'mgmt_image/xt_dscp.ko', 'a/...']

    assert list(parse_files(rows(*({'path': path} for path in paths)), 'a.zip')) == paths


def test_the_limits_hold_for_the_list_too() -> None:
    many, deep = rows(*({'path': f'{n}'} for n in range(101))), rows({'path': 'd/' * 17 + 'f'})
    long, four_bytes = rows({'path': 'n' * 65}), rows({'path': '\U0001f600' * 64})

    list_refused(many, r'more than 100 files \(\[image\] max_files\)', 'image-limit', Limits(max_files=100))
    list_refused(deep, r'deeper than 16 folders \(\[image\] max_depth\)', 'image-limit', Limits(max_depth=16))
    list_refused(long, r'longer than 64 bytes \(\[image\] max_name\)', 'image-limit', Limits(max_name=64))
    list_refused(four_bytes, r'longer than 255 bytes \(\[image\] max_name\)', 'image-limit')
    list_refused(rows({'path': '/'.join(['n' * 200] * 16)}), 'too long', 'bundle-unsafe')
    assert all(parse_files(data, 'a.zip') for data in (many, deep, long))


@pytest.mark.parametrize(('key', 'value'), [('files', 3), ('size', 8)])
def test_a_manifest_that_counts_otherwise_than_the_list_is_refused(key: str, value: int) -> None:
    files = {path: ListedFile(path, 7, DIGEST, 0o644, None) for path in ('mgmt_image/a', 'hmp_image/b')}
    right = {'path': 'mgmt_image/', 'files': 1, 'size': 7}

    agree(Manifest.parse(manifest(components={'mgmt': right}), 'a.zip'), files, 'a.zip')
    agree(Manifest.parse(manifest(components={'mgmt': {}}), 'a.zip'), files, 'a.zip')

    with pytest.raises(BundleError, match=f'says {key} {value} of mgmt'):
        agree(Manifest.parse(manifest(components={'mgmt': {**right, key: value}}), 'a.zip'), files, 'a.zip')
