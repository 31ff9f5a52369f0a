"""The index of a channel: what of it is believed, and when."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovca.exceptions import FetchError, ImageError, UsageError
from ovca.image import channel, index
from ovca.image.build import build
from ovca.image.channel import Channel, ChannelError
from ovca.image.errors import KeyRevoked, SignatureRefused, StorageFailed
from ovca.image.signing import keygen, sign
from tests.unit.image.conftest import Server

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=30)
ROW = {'version': '1.1.0', 'uri': 'ovca-1.1.0.iso.zip', 'size': 1000, 'iso_sha256': 'a' * 64}
GOOD: dict[str, Any] = {'format': 1, 'serial': 7, 'expires_at': '2026-12-01T00:00:00Z', 'images': [ROW]}
URI = 'https://otto:geheim@example.com/ovca/channel.json?token=1'


def written(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def parsed(data: bytes) -> Channel:
    return channel.parse(data, URI, signed_by='vendor.pub')


@pytest.mark.parametrize(
    ('uri', 'expected'),
    [
        ('https://example.com/channel.json', True),
        ('https://example.com/channel.JSON?token=1', True),
        ('/media/channel.json', True),
        ('file:///media/channel.json', True),
        ('https://example.com/ovca-1.1.0.iso.zip', False),
        ('https://example.com/x.zip?channel.json', False),
        ('/media/x', False),
    ],
)
def test_an_index_is_told_by_its_name(uri: str, expected: bool) -> None:
    assert channel.is_index(uri) is expected


def test_a_good_index_is_read() -> None:
    row = {
        **ROW, 'update_from': '1.0.0', 'stepping_stones': ['1.0.5'], 'released_at': '2026-10-01T12:00:00+02:00',
        'notes': 'better', 'critical': True, 'unknown': 1,
    }  # fmt: skip

    found = parsed(written(images=[row], more='later formats may say more'))

    offer = found.offers[0]
    assert (found.serial, found.expires_at, found.source) == (
        7,
        NOW + dt.timedelta(days=30),
        'https://example.com/ovca/channel.json',
    )
    assert (offer.terms.update_from, offer.terms.stepping_stones, offer.critical) == ('1.0.0', ('1.0.5',), True)
    assert offer.released_at == dt.datetime(2026, 10, 1, 10, tzinfo=dt.UTC)
    assert (found.offer('1.1.0'), found.offer('9')) == (offer, None)


@pytest.mark.parametrize(
    ('index', 'uri', 'whole'),
    [
        ('https://h/a/channel.json', 'x.zip', 'https://h/a/x.zip'),
        ('https://u:p@h/a/channel.json?t=1', 'b/x.zip', 'https://u:p@h/a/b/x.zip'),
        ('https://h/a/channel.json', '/x.zip', 'https://h/x.zip'),
        ('https://h/channel.json', 'x%20y.zip', 'https://h/x%20y.zip'),
        ('https://h/a/channel.json', 'https://other/x.zip', 'https://other/x.zip'),
        ('ftp://h/a/channel.json', 'x.zip', 'ftp://h/a/x.zip'),
        ('tape://h/a/channel.json', 'x.zip', 'tape://h/a/x.zip'),
        ('/media/a/channel.json', 'x%20y.zip', '/media/a/x y.zip'),
        ('file:///media/a/channel.json', 'x.zip', 'file:///media/a/x.zip'),
        ('file:///media/a/channel.json', 'file:///b/x.zip', 'file:///b/x.zip'),
    ],
)
def test_a_bundle_lies_relative_to_its_index(index: str, uri: str, whole: str) -> None:
    assert channel.resolved(index, uri) == whole


@pytest.mark.parametrize('uri', ['', 'file:///etc/shadow', 'FILE:///etc/shadow', '//other/x.zip', '?x', 'a\nb'])
def test_an_index_from_elsewhere_names_no_file_of_this_node(uri: str) -> None:
    with pytest.raises(ChannelError):
        parsed(written(images=[{**ROW, 'uri': uri}]))


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\xff',
        b'[]',
        b'null',
        b'{}',
        b'[' * 200_000,
        written(format=2),
        written(format=[1]),
        written(serial=0),
        written(serial=-1),
        written(serial=True),
        written(serial='7'),
        written(serial=2**63),
        written(serial=1.5),
        written(expires_at=None),
        written(expires_at='soon'),
        written(expires_at='2026-12-01T00:00:00'),
        written(images=None),
        written(images=7),
        written(images=[7]),
        written(images=[{}]),
        written(images=[ROW, ROW]),
        written(images=[ROW, {**ROW, 'version': '1.01.0'}]),
        written(images=[{**ROW, 'version': '../x'}]),
        written(images=[{**ROW, 'version': 1.1}]),
        written(images=[{**ROW, 'size': 0}]),
        written(images=[{**ROW, 'size': True}]),
        written(images=[{**ROW, 'size': '1000'}]),
        written(images=[{**ROW, 'iso_sha256': 'A' * 64}]),
        written(images=[{**ROW, 'iso_sha256': 'a' * 63}]),
        written(images=[{**ROW, 'update_from': '..'}]),
        written(images=[{**ROW, 'stepping_stones': 7}]),
        written(images=[{**ROW, 'stepping_stones': [7]}]),
        written(images=[{**ROW, 'released_at': 7}]),
        written(images=[{**ROW, 'notes': 7}]),
        written(images=[{**ROW, 'critical': 1}]),
        written(images=[{**ROW, 'uri': 7}]),
    ],
    ids=lambda data: repr(data[-80:]),
)
def test_what_is_no_index_is_refused_in_one_sentence_without_secrets(data: bytes) -> None:
    with pytest.raises(ChannelError) as caught:
        parsed(data)
    assert 'geheim' not in str(caught.value)
    assert len(str(caught.value)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FULL = {
    **ROW,
    'update_from': '1.0.0',
    'stepping_stones': ['1.0.5'],
    'released_at': '2026-10-01T12:00:00Z',
    'notes': 'x',
}


slowly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy


@slowly
@given(
    top=st.dictionaries(st.sampled_from([*GOOD]), JSON, max_size=2),
    row=st.dictionaries(st.sampled_from([*FULL, 'critical']), JSON, max_size=2),
)
def test_whatever_stands_in_an_index_it_is_read_or_refused_in_one_sentence(
    top: dict[str, Any], row: dict[str, Any]
) -> None:
    data = json.dumps({**GOOD, 'images': [{**FULL, **row}], **top}).encode()

    try:
        found = parsed(data)
    except ChannelError as exc:
        assert '\n' not in str(exc)
        return
    assert found.serial > 0 and found.expires_at.tzinfo is not None
    for offer in found.offers:
        assert offer.uri.isprintable() and offer.size > 0 and len(offer.iso_sha256) == 64
        assert not offer.uri.startswith('file:')


@slowly
@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(data: bytes) -> None:
    with pytest.raises(ChannelError):
        parsed(data)


Publish = Callable[..., str]


@pytest.fixture
def publish(tmp_path: Path, server: Server, secret_key: Path) -> Publish:
    """Put an index on the server, and return its URI."""

    def run(data: bytes | None = None, *, comment: str | None = None, key: Path = secret_key, **changes: Any) -> str:
        data = written(**changes) if data is None else data
        text = comment if comment is not None else channel.comment({**GOOD, **changes}['serial'])
        (tmp_path / 'www/channel.json').write_bytes(data)
        (tmp_path / 'www/channel.json.minisig').write_bytes(sign(data, text, key))
        return f'{server.url}/channel.json'

    return run


def test_a_signed_index_counts(publish: Publish, conf: Any) -> None:
    found = channel.read(publish(), conf, seen=7, now=NOW)

    assert (found.serial, found.signed_by) == (7, 'vendor.pub')
    assert found.offers[0].uri.endswith('/ovca-1.1.0.iso.zip')


def test_an_index_that_has_expired_is_refused(publish: Publish, conf: Any) -> None:
    uri = publish()

    with pytest.raises(ChannelError, match='it has expired at 2026-12-01T00:00:00Z') as caught:
        channel.read(uri, conf, seen=None, now=LATER)
    assert caught.value.id == 'channel-expired'


def test_an_index_that_goes_back_is_refused(publish: Publish, conf: Any) -> None:
    uri = publish()

    with pytest.raises(ChannelError, match='serial number 7, but 8 was seen') as caught:
        channel.read(uri, conf, seen=8, now=NOW)
    assert caught.value.id == 'channel-old'


@pytest.mark.parametrize('comment', ['ovca channel serial:8', 'ovca version:1.1.0 iso:' + 'a' * 64, ''])
def test_a_signature_for_another_serial_or_another_thing_is_refused(publish: Publish, conf: Any, comment: str) -> None:
    with pytest.raises(SignatureRefused, match='another serial number'):
        channel.read(publish(comment=comment), conf, seen=None, now=NOW)


def test_a_foreign_a_missing_and_a_revoked_signature_are_refused(publish: Publish, conf: Any, tmp_path: Path) -> None:
    foreign, _ = keygen(tmp_path / 'foreign', 'foreign')
    with pytest.raises(SignatureRefused):
        channel.read(publish(key=foreign), conf, seen=None, now=NOW)

    uri = publish()
    (tmp_path / 'www/channel.json.minisig').unlink()
    with pytest.raises(FetchError):
        channel.read(uri, conf, seen=None, now=NOW)

    uri = publish()
    (tmp_path / 'keys/revoked').write_text((tmp_path / 'keys/vendor.pub').read_text().splitlines()[1])
    with pytest.raises(KeyRevoked):
        channel.read(uri, conf, seen=None, now=NOW)


def test_a_channel_is_always_signed_even_where_images_need_not_be(publish: Publish, conf: Any, tmp_path: Path) -> None:
    conf.image.require_signature = False
    uri = publish()
    (tmp_path / 'www/channel.json').write_bytes(written(serial=9))

    with pytest.raises(SignatureRefused):
        channel.read(uri, conf, seen=None, now=NOW)


def test_an_index_that_is_published_anew_meanwhile_is_read_again(publish: Publish, conf: Any, server: Server) -> None:
    publish(serial=8)
    uri = publish()
    asked: list[str] = []
    inner = server.handler.do_GET

    def do_GET(self: Any) -> None:
        asked.append(self.path)
        if asked == ['/channel.json', '/channel.json.minisig']:
            publish(serial=8)
        inner(self)

    server.handler.do_GET = do_GET  # type: ignore[method-assign]

    assert channel.read(uri, conf, seen=None, now=NOW).serial == 8
    assert len(asked) == 4


def test_where_nothing_can_be_kept_for_a_moment_it_is_told(
    publish: Publish, conf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'nowhere'))

    with pytest.raises(StorageFailed, match='nowhere'):
        channel.read(publish(), conf, seen=None, now=NOW)


def test_an_endless_index_is_given_up(publish: Publish, conf: Any) -> None:
    uri = publish(b' ' * (channel.LIMIT + 1))

    with pytest.raises(ChannelError, match='more than'):
        channel.read(uri, conf, seen=None, now=NOW)


@pytest.fixture
def bundles(tmp_path: Path, tree: Path, secret_key: Path) -> Path:
    """A folder with two signed bundles."""
    folder = tmp_path / 'www/images'
    for version, before in (('1.1.0', '1.0.0'), ('1.2.0', '1.1.0')):
        build(
            folder / f'ovca {version}.zip', version=version, mgmt=tree / 'etc', update_from=before,
            stepping_stones=(before,), secret_key=secret_key, notes=f'this is {version}',
        )  # fmt: skip
    return folder


def made(bundles: Path, secret_key: Path, **changes: Any) -> Channel:
    arguments = {'expires_at': LATER, 'now': NOW, **changes}
    return index.make(bundles, bundles.parent / 'channel.json', secret_key, **arguments)


def test_an_index_that_was_made_is_read_as_it_was_meant(
    bundles: Path, secret_key: Path, conf: Any, server: Server
) -> None:
    made(bundles, secret_key, critical=['1.2.0'])

    found = channel.read(f'{server.url}/channel.json', conf, seen=None, now=NOW)

    assert [(o.version, o.critical, o.terms.update_from, o.notes) for o in found.offers] == [
        ('1.1.0', False, '1.0.0', 'this is 1.1.0'),
        ('1.2.0', True, '1.1.0', 'this is 1.2.0'),
    ]
    assert found.offers[0].uri == f'{server.url}/images/ovca%201.1.0.zip'
    assert found.offers[0].size == (bundles / 'ovca 1.1.0.zip').stat().st_size
    on_a_disk = channel.read(str(bundles.parent / 'channel.json'), conf, seen=None, now=NOW)
    assert on_a_disk.offers[0].uri == str(bundles / 'ovca 1.1.0.zip')


def test_the_next_index_counts_on_and_keeps_the_dates_of_release(bundles: Path, secret_key: Path) -> None:
    made(bundles, secret_key)
    (bundles / 'ovca 1.2.0.zip').unlink()

    again = made(bundles, secret_key, now=NOW + dt.timedelta(days=1), base_uri='https://cdn.example.com/ovca')

    assert (again.serial, again.offers[0].released_at) == (2, NOW)
    assert again.offers[0].uri == 'https://cdn.example.com/ovca/ovca%201.1.0.zip'
    assert made(bundles, secret_key, serial=10).serial == 10
    with pytest.raises(UsageError) as caught:
        made(bundles, secret_key, serial=10)
    assert caught.value.id == 'serial-used'


def test_what_cannot_be_offered_is_named(bundles: Path, secret_key: Path, tree: Path) -> None:
    build(bundles / 'again.zip', version='1.1.0', mgmt=tree / 'etc', secret_key=secret_key)
    with pytest.raises(UsageError) as twice:
        made(bundles, secret_key)
    build(bundles / 'again.zip', version='1.3.0', mgmt=tree / 'etc')
    with pytest.raises(UsageError, match=r'again\.zip is not signed') as unsigned:
        made(bundles, secret_key)
    (bundles / 'again.zip').write_text('nothing')
    with pytest.raises(ImageError, match='it is no bundle'):
        made(bundles, secret_key)
    (bundles / 'again.zip').unlink()
    with pytest.raises(UsageError, match=r'no bundle of version 9\.9'):
        made(bundles, secret_key, critical=['9.9'])
    for bundle in bundles.glob('*.zip'):
        bundle.unlink()
    with pytest.raises(UsageError) as none:
        made(bundles, secret_key)

    assert [twice.value.id, unsigned.value.id, none.value.id] == ['bundle-twice', 'bundle-unsigned', 'no-bundles']
    assert not (bundles.parent / 'channel.json').exists()
