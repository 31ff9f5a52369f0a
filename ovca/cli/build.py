"""Commands for those who make images: vendors and the lab."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovca.cli import base, key, places
from ovca.exceptions import UsageError


class ImageBuild(base.ShowOne):
    """Make a bundle (a zip with manifest, signature and ISO) from the trees of a software version.

    Example: ovca image-build --image-version 1.1.0 --mgmt tree --secret-key vendor.key ovca-1.1.0.iso.zip
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('output', metavar='<output>', type=places.path, help='the bundle to write')
        parser.add_argument('--image-version', metavar='<version>', required=True, help='the version of the image')
        parser.add_argument(
            '--mgmt',
            metavar='<folder>',
            type=places.path,
            required=True,
            help='the root file system of a management node',
        )
        parser.add_argument('--hmp', metavar='<folder>', type=places.path, help='the tree hmp_image, published only')
        parser.add_argument('--ovm', metavar='<folder>', type=places.path, help='the tree ovm_image, published only')
        parser.add_argument(
            '--installer', metavar='<file>', type=places.path, help="the installer to use instead of this ovca's own"
        )
        key.secret_key(
            parser, 'the minisign secret key that signs the image; without it the image is unsigned', required=False
        )
        parser.add_argument(
            '--update-from', metavar='<version>', help='the oldest version that may be updated to this one'
        )
        parser.add_argument(
            '--downgrade-to',
            metavar='<version>',
            help='the oldest version that this one may be downgraded to; without it downgrades are refused',
        )
        parser.add_argument(
            '--no-accept-downgrade',
            dest='accept_downgrade',
            action='store_false',
            help='this version is never installed over a newer one, even if that one allows it',
        )
        parser.add_argument(
            '--stepping-stone',
            metavar='<version>',
            action='append',
            default=[],
            help='a version that older ones have to be updated to first; may be repeated',
        )
        parser.add_argument(
            '--check',
            metavar='<path>',
            action='append',
            default=[],
            help=(
                'a program below the tree of --mgmt, as usr/libexec/ovca/checks/racks, that is run as a check before '
                'an update to this version begins; may be repeated'
            ),
        )
        notes = parser.add_mutually_exclusive_group()
        notes.add_argument('--notes', metavar='<text>', default='', help='the release notes')
        notes.add_argument(
            '--notes-file', metavar='<file>', type=places.path, help='a file that holds the release notes'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        import tempfile

        from ovca.image.build import build
        from ovca.provision.pack import pack

        if parsed_args.password_file and not parsed_args.secret_key:
            raise UsageError(
                '--password-file is of no use without --secret-key: the image would not be signed; give both, or none',
                id='no-secret-key',
            )
        for folder in filter(None, (parsed_args.mgmt, parsed_args.hmp, parsed_args.ovm)):
            places.need_folder(folder)
        for file in filter(None, (parsed_args.installer, parsed_args.secret_key, parsed_args.notes_file)):
            places.need_file(file)
        places.refuse_folder(parsed_args.output)
        notes = places.text(parsed_args.notes_file) if parsed_args.notes_file else parsed_args.notes
        with tempfile.TemporaryDirectory() as folder:
            installer = parsed_args.installer
            if installer is None:
                installer = Path(folder, 'installer.pyz')
                pack(installer)
            manifest = build(
                parsed_args.output,
                version=parsed_args.image_version,
                mgmt=parsed_args.mgmt,
                hmp=parsed_args.hmp,
                ovm=parsed_args.ovm,
                installer=installer,
                secret_key=parsed_args.secret_key,
                password=key.Password(self, parsed_args.password_file),
                update_from=parsed_args.update_from,
                downgrade_to=parsed_args.downgrade_to,
                accept_downgrade=parsed_args.accept_downgrade,
                stepping_stones=tuple(parsed_args.stepping_stone),
                notes=notes,
                checks=tuple(parsed_args.check),
            )
        columns = ('file', 'size', 'version', 'signed', 'iso_size', 'iso_sha256')
        size = parsed_args.output.stat().st_size
        signed = parsed_args.secret_key is not None
        return columns, (parsed_args.output, size, manifest.version, signed, manifest.iso.size, manifest.iso.sha256)
