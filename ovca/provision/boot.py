"""The boot service: what a machine boots, the image's files, and grants.

A machine is identified by its network card's address. Its script says "install" only while a grant for it is armed; any
other time, and whatever goes wrong, it says "boot from the local disk". Grants are asked for by HTTPS only.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ovca.exceptions import GrantRefused, OvcaError
from ovca.provision import questions
from ovca.provision.authority import Authority, encode_file
from ovca.provision.base import ProvisionDriver
from ovca.provision.bounded import Pace, Turns, plainly

LOG = logging.getLogger(__name__)
BODY_LIMIT = 64 * 1024
CALLS = 4
"""Questions to the authority at a time, for each half: whoever asks, the database has connections left for others."""
QUESTIONS = ('grant', 'progress', 'written', 'failed')
FIRMWARE = ('snponly.efi', 'undionly.kpxe')
MAC = re.compile(r'[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}')
VERSION = re.compile(r'[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}')


class Answer(JSONResponse):
    """JSON in ASCII: of a file's name that is not UTF-8 nothing is lost."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(',', ':')).encode()


class TooLarge(Exception):
    """A request's body is over the limit."""


def plain_app(
    authority: Authority, driver: ProvisionDriver, shared_storage: str, *, firmware: Path | None = None
) -> Starlette:
    """Return the HTTP half: boot scripts, the files of published images, and iPXE itself for EFI's HTTP boot.

    ``firmware`` is the folder that holds iPXE's ``snponly.efi``; the same that dnsmasq serves by TFTP.
    """
    images = Path(shared_storage, 'mgmt_image')
    turns, pace = Turns(CALLS), Pace(LOG)

    async def boot(request: Request) -> Response:
        mac = request.path_params['mac'].lower()
        if not MAC.fullmatch(mac):
            return PlainTextResponse('this is not the address of a network card\n', 404)
        if request.method == 'HEAD':  # UEFI asks so first; a boot token is made only for who takes it
            return PlainTextResponse('')
        card = mac.replace('-', ':')
        return PlainTextResponse(await turns.call(boot_script, authority, driver, card, _address(request), pace))

    async def image(request: Request) -> Response:
        version, name = request.path_params['version'], request.path_params['path']
        path = await turns.call(published_file, images, version, name)
        if path is None:
            return PlainTextResponse('there is no such file in a published image\n', 404)
        # What it is in parts, as a browser may ask, is work without measure; nobody here needs it.
        if ',' in request.headers.get('range', ''):
            return PlainTextResponse('one range at a time\n', 416)
        return FileResponse(path)

    async def firmware_file(request: Request) -> Response:
        name = request.path_params['name']
        if firmware is None or name not in FIRMWARE or not (firmware / name).is_file():
            return PlainTextResponse('there is no such file\n', 404)
        return FileResponse(firmware / name)

    return plainly(
        Starlette(
            routes=[
                Route('/boot/{mac}', boot, methods=['GET', 'HEAD']),
                Route('/image/{version}/{path:path}', image, methods=['GET', 'HEAD']),
                Route('/files/{name}', firmware_file, methods=['GET', 'HEAD']),
            ]
        )
    )


def boot_script(authority: Authority, driver: ProvisionDriver, mac: str, address: str, pace: Pace) -> str:
    """The script for the machine with this card; whatever goes wrong, it is the one that boots the local disk."""
    try:
        order = authority.boot(mac, address)
        if order is None:
            return driver.local_script()
        text = driver.install_script(order)
    except OvcaError as exc:
        pace.warning('boot %s: local disk, because %s', mac, exc)
        return driver.local_script()
    except Exception:  # whatever it is, a machine that asks gets the answer that does no harm
        pace.warning('boot %s: local disk, because the answer could not be made', mac, exc_info=True)
        return driver.local_script()
    pace.info('boot %s: install %s on %s, attempt %s', mac, order.version, order.node, order.attempt)
    return text


def published_file(images: Path, version: str, name: str) -> Path | None:
    """Return the file ``name`` of a published image, or None; it never leaves the image's folder."""
    if not VERSION.fullmatch(version) or '\0' in name or len(name) > 1024:
        return None
    folder = (images / version).resolve()
    try:
        path = (folder / name).resolve()
        if not folder.is_relative_to(images.resolve()) or not (folder / 'manifest.json').is_file():
            return None  # being unpacked, or no image at all
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, ValueError):  # a name that no file system takes
        return None


def tls_app(authority: Authority) -> Starlette:
    """Return the HTTPS half: grants, progress, and the end of an install."""
    turns, pace = Turns(CALLS), Pace(LOG)

    def answering(name: str) -> Callable[[Request], Any]:
        async def handler(request: Request) -> Response:
            try:
                data = await _body(request)
            except TooLarge as exc:
                return Answer({'error': str(exc)}, 413)
            answer, status = await turns.call(answered, authority, name, data, _address(request), pace)
            return Answer(answer, status)

        return handler

    routes = [Route(f'/v1/{name}', answering(name), methods=['POST']) for name in QUESTIONS]
    return plainly(Starlette(routes=routes))


def answered(authority: Authority, name: str, data: bytes, address: str, pace: Pace) -> tuple[dict[str, Any], int]:
    """What an installer's question ``name`` is answered with, and the HTTP status of it."""
    try:
        return _works(authority, address)[name](questions.parse(data)) or {}, 200
    except GrantRefused as exc:
        pace.warning('%s', exc)
        return {'error': exc.with_id}, 403
    except (KeyError, TypeError, ValueError) as exc:
        return {'error': f'the request is not understood: {type(exc).__name__}'}, 400
    except OvcaError as exc:  # it may name files, hosts and users, which are for the log alone
        pace.warning('%s', exc)
        return {'error': f'the master cannot do it now, and its log says why [{exc.id}]'}, 503


def _works(authority: Authority, address: str) -> dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]]:
    def grant(body: dict[str, Any]) -> dict[str, Any]:
        granted = authority.consume(questions.grant(body, address))
        site = granted.site
        files = [encode_file(file) for file in site.files]
        return {'evidence_token': granted.evidence_token, 'site': files, 'site_about': dict(site.about)}

    def progress(body: dict[str, Any]) -> None:
        authority.progress(*questions.who(body), questions.percent(body), questions.text(body))

    def written(body: dict[str, Any]) -> None:
        authority.written(*questions.who(body))

    def failed(body: dict[str, Any]) -> None:
        authority.failed(*questions.who(body), questions.text(body))

    return dict(zip(QUESTIONS, (grant, progress, written, failed), strict=True))


def _address(request: Request) -> str:
    """From where a request came, without the zone of an address that counts on one wire only."""
    return request.client.host.partition('%')[0].removeprefix('::ffff:') if request.client else ''


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_LIMIT:
            raise TooLarge(f'the request is larger than {BODY_LIMIT} bytes')
    return bytes(data)
