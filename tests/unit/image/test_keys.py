"""Which keys count: rotation with overlap, revocation, and what a folder may not hold."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import minisign
import pytest

from ovca.exceptions import ConfigError
from ovca.image import keys, signature
from ovca.image.errors import KeyRevoked, SignatureRefused
from ovca.image.signing import keygen, sign

DATA = b'what is signed'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / 'keys'


def made(folder: Path, name: str) -> tuple[Path, str]:
    """A key pair whose public half is in the folder; return the secret key and the key's id."""
    secret, public = keygen(folder, name)
    return secret, next(key.id for key in keys.load(folder).keys if key.name == public.name)


def verified(folder: Path, signed: bytes) -> str:
    return signature.verify(DATA, signed, folder, source='x.zip').key


def test_an_id_is_the_one_that_minisign_prints(folder: Path) -> None:
    made(folder, 'vendor')
    packed = minisign.PublicKey.from_file(folder / 'vendor.pub')._keynum_pk.key_id

    # minisign prints a number, and stores its lowest byte first.
    assert keys.load(folder).keys[0].id == f'{int.from_bytes(packed, "little"):016X}'


def test_while_a_key_is_changed_the_old_and_the_new_one_count(folder: Path) -> None:
    old, _ = made(folder, '2026')
    new, _ = made(folder, '2027')

    assert verified(folder, sign(DATA, 'x', old)) == '2026.pub'
    assert verified(folder, sign(DATA, 'x', new)) == '2027.pub'

    (folder / '2026.pub').unlink()

    with pytest.raises(SignatureRefused, match=r'trusted: 2027\.pub'):
        verified(folder, sign(DATA, 'x', old))


@pytest.mark.parametrize('form', ['id', 'small id', 'other order', 'key'])
@pytest.mark.parametrize('file_is_there', [True, False])
def test_a_revoked_key_counts_no_more_even_if_its_file_is_there(folder: Path, form: str, file_is_there: bool) -> None:
    stolen, id = made(folder, 'stolen')
    good, _ = made(folder, 'good')
    forms = {'id': id, 'small id': id.lower(), 'other order': bytes.fromhex(id)[::-1].hex()}
    line = {**forms, 'key': (folder / 'stolen.pub').read_text().splitlines()[1]}[form]
    (folder / 'revoked').write_text(f'# keys that nobody may use\n\n{line}  # stolen in May\n')
    if not file_is_there:
        (folder / 'stolen.pub').unlink()

    with pytest.raises(KeyRevoked, match=rf'{id}, which is revoked \(stolen in May\)') as caught:
        verified(folder, sign(DATA, 'x', stolen))
    assert (caught.value.id, caught.value.exit_code) == ('key-revoked', 4)
    assert verified(folder, sign(DATA, 'x', good)) == 'good.pub'


def test_when_the_only_key_is_revoked_nothing_passes(folder: Path) -> None:
    _, id = made(folder, 'stolen')
    other, _ = keygen(folder.parent / 'other', 'other')
    (folder / 'revoked').write_text(id)

    with pytest.raises(SignatureRefused, match='all are revoked'):
        verified(folder, sign(DATA, 'x', other))


@pytest.mark.parametrize('line', ['not a key', '0123456789ABCDE', '0123456789ABCDEFF', 'RWQ', 'Ä'])
def test_a_line_that_is_not_understood_stops_everything(folder: Path, line: str) -> None:
    secret, _ = made(folder, 'vendor')
    (folder / 'revoked').write_text(f'# first\n{line} # why\n')

    with pytest.raises(ConfigError, match=r'revoked, line 2: .* minisign leaves out zeros in front') as caught:
        verified(folder, sign(DATA, 'x', secret))
    assert caught.value.id == 'bad-revocation'


def test_a_list_that_cannot_be_read_stops_everything(folder: Path) -> None:
    secret, _ = made(folder, 'vendor')
    (folder / 'revoked').mkdir()

    with pytest.raises(ConfigError, match='revoked cannot be read'):
        verified(folder, sign(DATA, 'x', secret))


def test_a_folder_that_is_none_or_is_not_there_is_named_as_that(folder: Path) -> None:
    secret, _ = made(folder.with_name('other'), 'vendor')
    with pytest.raises(ConfigError, match=rf'key_folder {folder} holds no .* as it is not there; put '):
        verified(folder, sign(DATA, 'x', secret))
    folder.touch()

    with pytest.raises(ConfigError, match=rf'the folder of keys {folder} cannot be read: Not a directory; mend it'):
        verified(folder, sign(DATA, 'x', secret))


def test_a_folder_that_is_closed_is_not_taken_for_an_empty_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(folder, 'vendor')

    def closed(_: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(Path, 'iterdir', closed)  # root may read all, so no mode closes it

    with pytest.raises(ConfigError, match='cannot be read: Permission denied; mend it') as caught:
        keys.load(folder)
    assert caught.value.id == 'no-keys'


def test_a_signature_of_the_old_kind_is_refused(folder: Path) -> None:
    secret, _ = made(folder, 'vendor')
    old = bytes(minisign.SecretKey.from_file(secret).sign(DATA, prehash=False, trusted_comment='x'))

    with pytest.raises(SignatureRefused, match='not prehashed') as caught:
        verified(folder, old)
    assert caught.value.id == 'signature-legacy'


def test_a_signature_that_names_a_trusted_key_but_other_bytes_says_so(folder: Path) -> None:
    secret, id = made(folder, 'vendor')

    with pytest.raises(SignatureRefused, match=f'names key {id}, but it was not made for these bytes'):
        verified(folder, sign(b'another', 'x', secret))


def test_a_key_that_borrows_the_id_of_a_trusted_one_signs_nothing(folder: Path, tmp_path: Path) -> None:
    made(folder, 'vendor')
    forged = minisign.SecretKey.from_file(keygen(tmp_path / 'foreign', 'foreign')[0])
    forged._keynum_sk.key_id[:] = minisign.PublicKey.from_file(folder / 'vendor.pub')._keynum_pk.key_id

    with pytest.raises(SignatureRefused):
        verified(folder, bytes(forged.sign(DATA, trusted_comment='x')))
