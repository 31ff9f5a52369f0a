"""Images: fetched, listed, shown, and made."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovca.cli import base, watch


class Download(base.Command):
    """Fetch an image, verify it, and publish it on the shared storage; nothing is installed.

    The master's service does it; it goes on when the terminal goes away.

    Example: ovca download https://updates.example.com/ovca-1.1.0.iso.zip
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('uri', metavar='<uri>', help='The bundle: an HTTP, HTTPS or file URI, or a path.')
        parser.add_argument('--version', metavar='<version>', help='The version it must have, or that a plain ISO has.')
        parser.add_argument('--no-wait', action='store_true', help='Return as soon as the master has been asked.')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        number = self.service.submit('download', uri=watch.source(parsed_args.uri), version=parsed_args.version)
        if parsed_args.no_wait:
            watch.say(self, f'request {number} is with the master; {watch.PICKED_UP}')
        else:
            watch.finish(self, number)


class ImageList(base.Lister):
    """List the published images, the newest first.

    Example: ovca image-list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        names = ('version', 'size', 'digest', 'signed_by', 'published_at', 'runs_on')
        whole = parsed_args.formatter != 'table'
        rows = []
        for image in self.service.images():
            digest = image.digest if whole else image.digest[:12]
            runs_on = list(image.runs_on) if whole else ' '.join(image.runs_on)
            rows.append((image.version, image.size, digest, image.signed_by, image.published_at, runs_on))
        return names, rows


class ImageShow(base.ShowOne):
    """Show one image: its identity, who signed it, and what it holds.

    Example: ovca image-show 1.1.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('version', metavar='<version>', help='The image, as `ovca image-list` shows it.')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        image = self.service.image(parsed_args.version)
        manifest = image.manifest
        components = manifest.get('components') or {}
        shown = {
            'version': image.version,
            'digest': image.digest,
            'iso': image.iso,
            'size': image.size,
            'signed_by': image.signed_by,
            'source': image.source,
            'published_at': image.published_at,
            'runs_on': list(image.runs_on),
            'update_from': manifest.get('update_from'),
            'stepping_stones': list(manifest.get('stepping_stones') or ()),
            'components': components,
            'notes': manifest.get('notes') or '',
        }
        if parsed_args.formatter not in ('json', 'yaml'):
            shown['components'] = '\n'.join(
                f'{name}: {c.get("files", "?")} files, {c.get("size", "?")} bytes, {c.get("install", "?")}'
                for name, c in components.items()
            )
            shown['runs_on'], shown['stepping_stones'] = ' '.join(image.runs_on), ' '.join(shown['stepping_stones'])
        return tuple(shown), tuple(shown.values())


class ImageBuild(base.Command):
    """Make a bundle from trees: for vendors.

    The same trees and key give the same bytes. Example: ovca image-build ovca-1.1.0.iso.zip --version 1.1.0
    --mgmt trees/mgmt --secret-key vendor.key
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('output', metavar='<file>', type=Path, help='The bundle to write.')
        parser.add_argument('--version', metavar='<version>', required=True, help='The version of the image.')
        for name, what in (('mgmt', "a management node's root file system"), ('hmp', 'HMP'), ('ovm', 'OVM')):
            text = f'The tree of {what}.'
            parser.add_argument(f'--{name}', metavar='<folder>', type=Path, required=name == 'mgmt', help=text)
        parser.add_argument('--installer', metavar='<file>', type=Path, help="The installer (default: ovca's own).")
        parser.add_argument('--secret-key', metavar='<file>', type=Path, help='The minisign key to sign with.')
        parser.add_argument('--unsigned', action='store_true', help='Make a bundle without a signature.')
        parser.add_argument('--update-from', metavar='<version>', help='The oldest version it may update.')
        parser.add_argument(
            '--stepping-stone', metavar='<version>', action='append', default=[], help='A version to update to first.'
        )
        parser.add_argument('--notes', metavar='<text>', default='', help='Release notes.')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        import tempfile

        from ovca.exceptions import UsageError
        from ovca.image.build import build
        from ovca.provision.pack import pack

        if bool(parsed_args.secret_key) == parsed_args.unsigned:
            raise UsageError('name the key to sign with by --secret-key, or say --unsigned')
        with tempfile.TemporaryDirectory(prefix='ovca-build-') as folder:
            installer = parsed_args.installer
            if installer is None:
                installer = Path(folder, 'installer.pyz')
                pack(installer)
            manifest = build(
                parsed_args.output,
                version=parsed_args.version,
                mgmt=parsed_args.mgmt,
                hmp=parsed_args.hmp,
                ovm=parsed_args.ovm,
                installer=installer,
                secret_key=parsed_args.secret_key,
                update_from=parsed_args.update_from,
                stepping_stones=tuple(parsed_args.stepping_stone),
                notes=parsed_args.notes,
            )
        watch.say(self, f'{parsed_args.output}: image {manifest.version}, ISO SHA-256 {manifest.iso.sha256}')
