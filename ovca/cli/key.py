"""Keys: those that this node trusts, and those that vendors make and sign with."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovca.cli import base, places
from ovca.exceptions import UsageError


class KeyList(base.Lister):
    """List the public keys that images may be signed with on this node, and those that are revoked.

    Both nodes have a folder of their own: compare them after a change.

    Example: ovca key-list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        from ovca.cli import watch
        from ovca.image import keys

        found = keys.load(Path(self.conf.image.key_folder))
        if not found.keys:
            watch.tell(self, str(keys.none_here(found.folder)))
        signed: dict[str, list[str]] = {}
        for image in self.service.images():
            signed.setdefault(image.signed_by or '', []).append(image.version)
        named: list[tuple[str | None, str]] = [(key.name, key.id) for key in found.keys]
        here = {id for key in found.keys for id in (key.id, keys.other_order(key.id))}
        named += [(None, id) for id in found.revoked if id not in here]
        rows = []
        for name, id in named:
            why = found.why_revoked(id)
            rows.append((name, id, why is not None, why, signed.get(name, []) if name else []))
        return ('name', 'key_id', 'revoked', 'reason', 'images'), rows


def secret_key(parser: argparse.ArgumentParser, text: str, *, required: bool) -> None:
    """Add the options that name a secret key and the file with its password."""
    parser.add_argument('--secret-key', metavar='<file>', type=places.path, required=required, help=text)
    parser.add_argument(
        '--password-file',
        metavar='<file>',
        type=places.path,
        help='a file that holds the password of the secret key; without it the password is asked for',
    )


class Password:
    """The password of a secret key: out of a file, or asked for once."""

    def __init__(self, command: base._Common, file: Path | None, *, twice: bool = False) -> None:
        self._command, self._file, self._twice = command, file, twice
        self._known: str | None = None

    def __call__(self) -> str:
        """Return it. :raises UsageError: there is nobody to ask. :raises ConfigError: the file cannot be used."""
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> str:
        from ovca.conf import secrets

        if self._file is not None:
            return secrets.read(str(self._file), '--password-file')
        if not self._command.interactive:
            raise UsageError(
                'the secret key has a password, and there is no terminal to ask for it on; name a file that holds it '
                'with --password-file',
                id='password-missing',
            )
        given = self._ask('Password of the secret key: ')
        if self._twice and given != self._ask('The same again: '):
            raise UsageError('the two passwords differ; nothing was written', id='passwords-differ')
        return given

    def _ask(self, question: str) -> str:
        import getpass

        return getpass.getpass(question, stream=self._command.app.stderr)


class ImageKeygen(base.ShowOne):
    """Make a key pair for signing images: <name>.key, which stays secret, and <name>.pub for the appliances.

    The secret key gets a password, which is asked for or read from a file. Without one, who reads the file can sign.

    Example: ovca image-keygen acme-2027 --folder /secure/keys
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='<name>', help='the name of both files, without their ends')
        parser.add_argument(
            '--folder',
            metavar='<folder>',
            type=places.path,
            default=Path(),
            help='where the files are written; it is made if it is not there (default: here)',
        )
        password = parser.add_mutually_exclusive_group()
        password.add_argument(
            '--password-file',
            metavar='<file>',
            type=places.path,
            help='a file that holds the password to give to the key',
        )
        password.add_argument('--no-password', action='store_true', help='protect the key by its permissions only')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.image import keys, signing

        password = None
        if not parsed_args.no_password:
            if parsed_args.password_file is None and not self.interactive:
                raise UsageError(
                    'there is no terminal to ask for a password on; name a file that holds it with --password-file, or '
                    'say --no-password',
                    id='password-missing',
                )
            password = Password(self, parsed_args.password_file, twice=True)()
            if not password:
                raise UsageError('the password is empty; give one, or say --no-password', id='password-missing')
        secret, public = signing.keygen(parsed_args.folder, parsed_args.name, password=password)
        id = next(key.id for key in keys.load(public.parent).keys if key.name == public.name)
        return ('secret_key', 'public_key', 'key_id', 'password'), (secret, public, id, password is not None)


class ImageSign(base.ShowOne):
    """Sign a bundle or a manifest, or sign it anew by another key.

    What a bundle holds is compared with its manifest before it is signed. The ISO in it is copied as it is compressed.
    The bundle is replaced, whole or not at all, unless --output names another file; the signature of a manifest is
    written beside it, as <manifest>.minisig.

    Example: ovca image-sign ovca-1.1.0.iso.zip --secret-key /secure/keys/acme-2027.key
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'file', metavar='<file>', type=places.path, help='the bundle (a zip), or the manifest (JSON)'
        )
        secret_key(parser, 'the minisign secret key to sign with', required=True)
        parser.add_argument('--output', metavar='<file>', type=places.path, help='the file to write instead')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        import zipfile

        from ovca.files import write_atomic
        from ovca.image import judged, keys, signing
        from ovca.image.errors import file_errors
        from ovca.image.manifest import LIMIT, Manifest

        file, key, output = parsed_args.file, parsed_args.secret_key, parsed_args.output
        places.need_file(file)
        places.need_file(key)
        password = Password(self, parsed_args.password_file)
        if zipfile.is_zipfile(file):
            output = output or file
            places.refuse_folder(output)
            manifest = signing.sign_bundle(file, output, key, password)
            with zipfile.ZipFile(output) as archive:
                signature = archive.read(judged.SIGNATURE)
        else:
            output = output or file.with_name(f'{file.name}.minisig')
            places.refuse_folder(output)
            with file_errors(output):
                with file.open('rb') as stream:
                    data = stream.read(LIMIT)
                manifest = Manifest.parse(data, str(file))
                signature = signing.sign_manifest(data, str(file), key, password)
                write_atomic(output, signature)
        columns = ('file', 'version', 'iso_sha256', 'key_id')
        return columns, (output, manifest.version, manifest.iso.sha256, keys.signer(signature)[1])
