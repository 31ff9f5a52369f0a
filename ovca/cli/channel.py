"""Channels: for vendors, who make them."""

from __future__ import annotations

import argparse
import datetime as dt

from ovca.cli import base, key, places, values
from ovca.exceptions import UsageError

NAME = 'channel.json'
LONGEST = dt.timedelta(days=3660)


class ChannelBuild(base.ShowOne):
    """Make the signed index of a channel from the bundles in a folder.

    The index names each bundle (*.zip) relative to itself. It is made anew after each change, and before it expires;
    its serial number goes up by one each time. Its signature is written beside it, as <output>.minisig.

    Example: ovca channel-build www/ovca --secret-key /secure/keys/acme-2027.key --expires 30d
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('folder', metavar='<folder>', type=places.path, help='the folder that holds the bundles')
        key.secret_key(parser, 'the minisign secret key that signs the index', required=True)
        parser.add_argument(
            '--output', metavar='<file>', type=places.path, help=f'the index to write (default: {NAME} in the folder)'
        )
        parser.add_argument(
            '--expires',
            metavar='<time>',
            default='30d',
            help='when appliances refuse it: in so long, as 30d, or at an ISO 8601 time (default: 30d)',
        )
        parser.add_argument(
            '--base-uri',
            metavar='<uri>',
            help='where the bundles are: a URI, or a path from the index (default: its folder)',
        )
        parser.add_argument('--serial', metavar='<number>', help='the serial number (default: the next one)')
        parser.add_argument(
            '--critical',
            metavar='<version>',
            action='append',
            default=[],
            help='a version that operators should install soon; may be repeated',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        from ovca.image import index

        folder, output = parsed_args.folder, parsed_args.output or parsed_args.folder / NAME
        places.need_folder(folder)
        places.need_file(parsed_args.secret_key)
        if not output.name.endswith('.json'):
            raise UsageError(f'{output} has to end in .json, as appliances tell by it what it is', id='no-index-name')
        now = dt.datetime.now(dt.UTC)
        made = index.make(
            folder,
            output,
            parsed_args.secret_key,
            expires_at=_expiry(parsed_args.expires, now),
            now=now,
            serial=None if parsed_args.serial is None else values.number('--serial', parsed_args.serial),
            base_uri=parsed_args.base_uri,
            critical=parsed_args.critical,
            password=key.Password(self, parsed_args.password_file),
        )
        columns = ('file', 'serial', 'expires_at', 'images')
        return columns, (output, made.serial, made.expires_at, [offer.version for offer in made.offers])


def _expiry(text: str, now: dt.datetime) -> dt.datetime:
    """When the index expires. :raises UsageError: it is no time, past, or too far away."""
    found = values.moment(text, span='in how long')
    if isinstance(found, dt.timedelta):
        found = now + min(found, LONGEST + dt.timedelta(days=1))
    if not now < found <= now + LONGEST:
        raise UsageError(
            f'--expires {text} is not between now and ten years from now; give a time like 30d', id='bad-expiry'
        )
    return found
