"""What a vendor does: keys with a password, and bundles that are signed after they were made."""

from __future__ import annotations

import datetime as dt
import struct
import zipfile
from pathlib import Path
from typing import IO

import pytest

from ovca.exceptions import ConfigError, ImageError, UsageError
from ovca.image import index, signature
from ovca.image.build import build
from ovca.image.errors import BundleError, SignatureRefused
from ovca.image.signing import keygen, sign, sign_bundle
from tests.unit.image.conftest import Get


@pytest.fixture
def unsigned(tmp_path: Path, tree: Path) -> Path:
    path = tmp_path / 'www/unsigned.zip'
    build(path, version='1.1.0', mgmt=tree, update_from='1.0.0')
    return path


def test_a_bundle_signed_later_is_the_one_that_was_signed_at_once(
    tmp_path: Path, tree: Path, unsigned: Path, secret_key: Path
) -> None:
    at_once = tmp_path / 'at-once.zip'
    build(at_once, version='1.1.0', mgmt=tree, update_from='1.0.0', secret_key=secret_key)

    sign_bundle(unsigned, tmp_path / 'later.zip', secret_key)

    assert (tmp_path / 'later.zip').read_bytes() == at_once.read_bytes()


def test_a_bundle_gets_another_signature_in_place_and_is_received(bundle: Path, tmp_path: Path, get: Get) -> None:
    new, public = keygen(tmp_path / 'new', '2027')
    public.rename(tmp_path / 'keys/2027.pub')
    bundle.chmod(0o640)

    sign_bundle(bundle, bundle, new)

    assert get(bundle).signed_by == '2027.pub'
    assert bundle.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]
    assert zipfile.ZipFile(bundle).testzip() is None


class Pipe:
    """A file that cannot go back: sizes and CRCs then stand behind the members."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.write, self.flush = raw.write, raw.flush


def test_a_member_with_a_data_descriptor_is_copied_with_it(
    tmp_path: Path, unsigned: Path, secret_key: Path, get: Get
) -> None:
    streamed = tmp_path / 'www/streamed.zip'
    with (
        zipfile.ZipFile(unsigned) as source,
        streamed.open('wb') as raw,
        zipfile.ZipFile(Pipe(raw), 'w', zipfile.ZIP_DEFLATED) as target,  # type: ignore[call-overload]
    ):
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    assert zipfile.ZipFile(streamed).infolist()[2].flag_bits & 8

    sign_bundle(streamed, streamed, secret_key)

    assert get(streamed).signed_by == 'vendor.pub'


def rewritten(bundle: Path, target: Path, **changed: bytes) -> Path:
    """The bundle with other content in the member whose name begins so."""
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as out:
        for info in source.infolist():
            data = next((d for name, d in changed.items() if info.filename.startswith(name)), source.read(info))
            out.writestr(info.filename, data)
    return target


@pytest.mark.parametrize(
    'changed', [{'files': b'{"files": []}'}, {'ovca': b'another ISO'}, {'manifest': b'{}'}], ids=lambda d: next(iter(d))
)
def test_what_is_not_as_its_manifest_says_is_not_signed(
    tmp_path: Path, unsigned: Path, secret_key: Path, changed: dict[str, bytes]
) -> None:
    bad = rewritten(unsigned, tmp_path / 'www/bad.zip', **changed)
    before = bad.read_bytes()

    with pytest.raises(BundleError):
        sign_bundle(bad, bad, secret_key)

    assert bad.read_bytes() == before
    assert sorted(path.name for path in bad.parent.iterdir()) == ['bad.zip', 'unsigned.zip']


def test_what_is_no_bundle_is_one_sentence(tmp_path: Path, secret_key: Path) -> None:
    other = tmp_path / 'other.zip'
    with zipfile.ZipFile(other, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    text = tmp_path / 'text'
    text.write_text('hello')

    for path in (other, text):
        with pytest.raises(BundleError) as caught:
            sign_bundle(path, path, secret_key)
        assert caught.value.id == 'not-a-bundle'


@pytest.mark.parametrize('what', ['damaged', 'encrypted'])
@pytest.mark.parametrize('place', [0, -1])
def test_a_bundle_that_cannot_be_unpacked_is_one_sentence(
    tmp_path: Path, bundle: Path, secret_key: Path, what: str, place: int
) -> None:
    with zipfile.ZipFile(bundle) as archive:
        info, start = archive.infolist()[place], archive.start_dir
    data = bytearray(bundle.read_bytes())
    if what == 'damaged':
        content = info.header_offset + 30 + sum(struct.unpack_from('<HH', data, info.header_offset + 26))
        data[content : content + 4] = b'\xff' * 4  # no block of deflate begins so
    else:
        listed = start if place == 0 else data.rindex(b'PK\x01\x02')
        data[info.header_offset + 6] |= 1
        data[listed + 8] |= 1
    folder = tmp_path / 'damaged'
    folder.mkdir()
    (folder / 'bad.zip').write_bytes(data)

    with pytest.raises(BundleError) as signed:
        sign_bundle(folder / 'bad.zip', folder / 'out.zip', secret_key)
    assert signed.value.id == 'not-a-bundle'
    assert str(signed.value).isprintable()
    if place == 0:
        now = dt.datetime.now(dt.UTC)
        with pytest.raises(BundleError) as offered:
            index.make(folder, folder / 'channel.json', secret_key, expires_at=now + dt.timedelta(days=1), now=now)
        assert offered.value.id == 'not-a-bundle'
    assert [path.name for path in folder.iterdir()] == ['bad.zip']


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path, unsigned: Path, secret_key: Path) -> None:
    with pytest.raises(ImageError, match='none') as caught:
        sign_bundle(unsigned, tmp_path / 'none/out.zip', secret_key)
    assert caught.value.id == 'bundle-file'


def test_a_key_with_a_password_signs_with_it_and_not_without(tmp_path: Path) -> None:
    secret, _ = keygen(tmp_path / 'keys', 'vendor', password='geheim')

    signed = sign(b'data', 'for this', secret, lambda: 'geheim')

    assert signature.verify(b'data', signed, tmp_path / 'keys', source='x').comment == 'for this'
    with pytest.raises(UsageError, match='wrong password') as caught:
        sign(b'data', 'x', secret, lambda: 'falsch')
    assert 'falsch' not in str(caught.value)
    with pytest.raises(UsageError, match='--password-file') as missing:
        sign(b'data', 'x', secret)
    assert missing.value.id == 'password-missing'


def test_a_key_without_a_password_asks_for_none(secret_key: Path) -> None:
    def never() -> str:
        raise AssertionError('it asks')

    assert sign(b'data', 'x', secret_key, never)


def test_a_secret_key_that_others_can_read_is_not_used(secret_key: Path) -> None:
    secret_key.chmod(0o640)

    with pytest.raises(ConfigError, match='chmod 600') as caught:
        sign(b'data', 'x', secret_key)
    assert caught.value.id == 'secret-file-open'


@pytest.mark.parametrize('content', [b'', b'\n\n', b'not a key', b'\xff' * 300])
def test_what_is_no_secret_key_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'x.key'
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(UsageError, match=r'x\.key cannot sign') as caught:
        sign(b'data', 'x', path)
    assert caught.value.id == 'bad-secret-key'


@pytest.mark.parametrize('name', ['', '../x', 'a/b', '.x', 'x' * 65, 'a b', 'a\n'])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        keygen(tmp_path / 'keys', name)
    assert not (tmp_path / 'keys').exists()


def test_a_signature_of_something_else_is_not_one_of_a_manifest(bundle: Path, secret_key: Path) -> None:
    raw = zipfile.ZipFile(bundle).read('manifest.json')
    signed = sign(raw, 'ovca channel serial:1', secret_key)

    with pytest.raises(SignatureRefused, match='another version'):
        signature.check(raw, signed, secret_key.parent, version='1.1.0', digest='a' * 64, source='x')
