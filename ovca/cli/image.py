"""Images: listed, shown, verified, deleted, and taken up."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from ovca.cli import base, brief
from ovca.cli.verdict import Verdict


class ImageList(base.Lister):
    """List the published images, the newest first; or those that the channel of the vendor offers.

    Example: ovca image-list --available
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--available',
            action='store_true',
            help='list the images of the channel in [update] uri, with the path from what runs to each',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Table:
        if parsed_args.available:
            return self._available(parsed_args)
        names = ('version', 'size', 'digest', 'signed_by', 'published_at', 'runs_on', 'kept_because')
        shown = brief.columns(parsed_args, names, without=('kept_because',))
        whole = parsed_args.formatter != 'table'
        rows = []
        for image in self.service.images():
            facts = {name: getattr(image, name) for name in shown}
            if 'digest' in facts and not whole:
                facts['digest'] = image.digest[:12]
            rows.append(list(facts.values()))
        return shown, rows

    def _available(self, parsed_args: argparse.Namespace) -> base.Table:
        from dataclasses import fields

        from ovca.remaster.channels import OfferView

        names = [field.name for field in fields(OfferView)]
        hidden = ('iso_sha256', 'update_from', 'stepping_stones', 'notes')
        shown = brief.columns(parsed_args, names, without=hidden)
        return shown, [[getattr(view, name) for name in shown] for view in self.service.available()]


class ImageShow(base.ShowOne):
    """Show one image: its identity, who signed it, and what it holds.

    Example: ovca image-show 1.1.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _version(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.cli import live

        image = self.service.image(parsed_args.version)
        manifest = image.manifest
        shown = {
            'version': image.version,
            'digest': image.digest,
            'files_digest': image.files_digest,
            'iso': image.iso,
            'size': image.size,
            'signed_by': image.signed_by,
            'source': image.source,
            'published_at': image.published_at,
            'runs_on': image.runs_on,
            'kept_because': image.kept_because,
            'update_from': manifest.get('update_from'),
            'downgrade_to': manifest.get('downgrade_to'),
            'accept_downgrade': manifest.get('accept_downgrade') is not False,
            'stepping_stones': manifest.get('stepping_stones') or [],
            'components': manifest.get('components') or {},
            'notes': manifest.get('notes') or '',
        }
        if parsed_args.formatter == 'table':
            shown['components'] = '\n'.join(
                f'{name}: {c.get("files", "?")} files, {live.amount(c.get("size"))}, {c.get("install", "?")}'
                for name, c in (manifest.get('components') or {}).items()
            )
        return tuple(shown), tuple(shown.values())


SHOWN = 20
"""How many differences a table shows; the formats for scripts hold all of them."""


class ImageVerify(Verdict, base.ShowOne):
    """Read an image again, every file of it, and name what is not as it was published; nothing is changed.

    Exit status 4 when something differs. It works on both nodes, and reads all of the image from the shared storage.

    Example: ovca image-verify 1.1.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _version(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from dataclasses import asdict

        from ovca.cli import live
        from ovca.exceptions import ImageError

        image = self.service.image(parsed_args.version)
        with live.RequestView(self.app.stderr) as view:
            findings = self.service.examine(
                image.version, lambda done, total: view({'stage': 'verify', 'done': done, 'total': total})
            )
        if findings.differences:
            count, first = len(findings.differences), findings.differences[0]
            many = f'{count} files are' if count > 1 else '1 file is'
            self.verdict = ImageError(
                f'image {image.version} is not as it was published: {many} wrong, the first is {first.path} '
                f'({first.problem}); do not install it, look at the storage',
                id='image-differs',
            )
        differing: Any = [asdict(difference) for difference in findings.differences]
        if parsed_args.formatter == 'table':
            lines = [f'{d.path}: {d.problem}' for d in findings.differences[:SHOWN]]
            more = len(findings.differences) - SHOWN
            differing = '\n'.join([*lines, *([f'and {more} more; `-f json` shows all'] if more > 0 else [])])
        names = ('version', 'digest', 'result', 'files', 'differing')
        result = 'failed' if findings.differences else 'passed'
        return names, (image.version, image.digest, result, findings.files, differing)


class ImageDelete(base.Command):
    """Delete images from the shared storage, for good; those that are needed stay.

    Needed are: what a node runs, what an open update installs or may go back to, and what could be gone back to from
    what runs now. It tells what will go, and asks once.

    Example: ovca image-delete 1.0.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _version(parser, nargs='+')
        parser.add_argument('--yes', action='store_true', help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from ovca.cli import live, watch

        versions = list(dict.fromkeys(parsed_args.version))
        self.service.must_lead()
        folders = self.service.removable(versions)
        for folder, size in folders.items():
            watch.tell(self, f'{folder} will be deleted: {live.amount(size)}')
        what = f'{"images" if len(versions) > 1 else "image"} {", ".join(versions)}'
        self.confirm(f'Delete {what}, {live.amount(sum(folders.values()))}?', yes=parsed_args.yes)
        number = self.service.submit('image-delete', versions=versions)
        watch.wait(self, number, 'the deletion', later='`ovca image-list` shows what is left')
        watch.say(self, f'{what}: deleted')


class ImageAdopt(base.Command):
    """Take up images that lie on the shared storage and that the database does not know.

    So it is with those that were fetched after the backup from which the database was put back. Each is judged as by a
    download, and read again, all of it; what is damaged or not trusted is refused. Nothing is installed.

    Example: ovca image-adopt 1.2.0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        from ovca.cli import watch

        parser = super().get_parser(prog_name)
        action = parser.add_argument(
            'version', metavar='<version>', nargs='+', help='the image, as `ovca check unknown-images` names it'
        )
        base.completes(action, _unknown)
        watch.downgrades(parser, 'take up an older version, if the manifest of the one that runs allows it')
        watch.progress(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from ovca.cli import watch

        self.service.must_lead()
        for version, unknown in self.service.adoptable(parsed_args.version).items():
            if not unknown:
                watch.say(self, f'image {version} is known to the database already; there is nothing to do')
                continue
            number = self.service.submit('image-adopt', version=version, allow_downgrade=parsed_args.allow_downgrade)
            later = '`ovca image-list` shows whether it was taken up'
            watch.wait(self, number, f'taking up image {version}', later=later, progress=parsed_args.progress)
            watch.say(self, f'image {version}: taken up; `ovca activate {version}` installs it')


def _unknown(service: Any) -> Iterable[str]:
    return list(service.unknown_images())


def _version(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    action = parser.add_argument(
        'version', metavar='<version>', nargs=nargs, help='the image, as `ovca image-list` shows it'
    )
    base.completes(action, base.images)
