"""Images: fetched, listed, and shown."""

from __future__ import annotations

import argparse

from ovca.cli import base, watch


class Download(base.Command):
    """Fetch an image, verify it, and publish it on the shared storage; nothing is installed.

    The master's service does it; it goes on when the terminal goes away.

    Example: ovca download https://updates.example.com/ovca-1.1.0.iso.zip
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('uri', metavar='<uri>', help='the bundle: an HTTP, HTTPS or file URI, or a path')
        parser.add_argument(
            '--image-version', metavar='<version>', help='the version it must have, or that a plain ISO has'
        )
        parser.add_argument('--no-wait', action='store_true', help='return as soon as the master has been asked')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        number = self.service.submit('download', uri=watch.source(parsed_args.uri), version=parsed_args.image_version)
        if parsed_args.no_wait:
            watch.say(self, f'request {number} is with the master; {watch.PICKED_UP}')
        else:
            watch.finish(self, number, planned=True)


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
            rows.append((image.version, image.size, digest, image.signed_by, image.published_at, image.runs_on))
        return names, rows


class ImageShow(base.ShowOne):
    """Show one image: its identity, who signed it, and what it holds.

    Example: ovca image-show 1.1.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('version', metavar='<version>', help='the image, as `ovca image-list` shows it')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        image = self.service.image(parsed_args.version)
        manifest = image.manifest
        shown = {
            'version': image.version,
            'digest': image.digest,
            'iso': image.iso,
            'size': image.size,
            'signed_by': image.signed_by,
            'source': image.source,
            'published_at': image.published_at,
            'runs_on': image.runs_on,
            'update_from': manifest.get('update_from'),
            'stepping_stones': manifest.get('stepping_stones') or [],
            'components': manifest.get('components') or {},
            'notes': manifest.get('notes') or '',
        }
        if parsed_args.formatter == 'table':
            shown['components'] = '\n'.join(
                f'{name}: {c.get("files", "?")} files, {c.get("size", "?")} bytes, {c.get("install", "?")}'
                for name, c in (manifest.get('components') or {}).items()
            )
        return tuple(shown), tuple(shown.values())
