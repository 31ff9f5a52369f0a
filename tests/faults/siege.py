"""Strangers around an appliance: ``python -m tests.faults.siege PREFIX MAC...`` troubles its servers until told to end.

They come from addresses that no node has, and each does one thing again and again: say nothing, say half of it, say
nonsense, send without end, wake nodes, ask in a node's name for what to boot, and for grants that they guess. As many
as are here keep a server busy, but leave the processor to the update, which is what is to be seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ovca.lab.spec import BOOT_PORT, STATUS_PORT, TLS_PORT

STRANGERS = 24
PAUSE = 0.4
"""Seconds, about, between two things that one of them does."""
PATIENCE = 5.0
"""Seconds that one of them holds a connection."""
NODES = {'11': 'mn1', '12': 'mn2'}
SERVERS = 4
"""How many there are: boot service and grants on the virtual IP, the status of each node."""
Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter, random.Random, list[str]], Awaitable[None]]


async def silent(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, macs: list[str]
) -> None:
    """Say nothing."""
    await reader.read()


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, macs: list[str]) -> None:
    """Say a request, a letter at a time."""
    for byte in b'POST /v1/grant HTTP/1.1\r\nHost: appliance\r\nContent-Length: 9\r\n\r\n':
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.2)


async def nonsense(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, macs: list[str]
) -> None:
    """Say what is no HTTP."""
    writer.write(rng.randbytes(rng.randrange(1, 5000)))
    await reader.read()


async def endless(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, macs: list[str]
) -> None:
    """Send a body that is far too large."""
    writer.write(b'POST /v1/written HTTP/1.1\r\nHost: appliance\r\nContent-Length: 9999999999\r\n\r\n')
    for _ in range(50):
        writer.write(b'x' * 4096)
        await writer.drain()


async def woken(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, macs: list[str]
) -> None:
    """Wake a node, and look at it."""
    path = rng.choice(('/v1/wake', '/v1/site', '/v1/status', '/v1/update', '/metrics'))
    method = 'POST' if path in ('/v1/wake', '/v1/site') else 'GET'
    await _ask(reader, writer, method, path, b'{}')


async def boots(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, macs: list[str]
) -> None:
    """Ask what a node is to boot, or for a file of an image."""
    path = rng.choice([*(f'/boot/{mac}' for mac in macs), '/boot/x', '/image/1.1.0/../../../etc/passwd', '/files/x'])
    await _ask(reader, writer, 'GET', path)


async def lies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, macs: list[str]) -> None:
    """Ask for a grant, or report, in a node's name."""
    said = {
        'node': rng.choice(list(NODES.values())),
        'update': rng.randrange(3),
        'attempt': rng.randrange(3),
        'digest': rng.randbytes(32).hex(),
        'boot_token': rng.choice(('', None, rng.randbytes(16).hex())),
        'nonce': rng.randbytes(32).hex(),
        'percent': 100,
        'text': 'all is well',
    }
    name = rng.choice(('grant', 'site', 'progress', 'written', 'failed'))
    await _ask(reader, writer, 'POST', f'/v1/{name}', json.dumps(said).encode())


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: bytes = b''
) -> None:
    head = f'{method} {path} HTTP/1.1\r\nHost: appliance\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n'
    writer.write(head.encode() + body)
    await reader.read()


ANYWHERE: tuple[Way, ...] = (silent, slow, nonsense, endless)
OF_PORT: dict[int, tuple[Way, ...]] = {BOOT_PORT: (boots,), TLS_PORT: (lies, lies), STATUS_PORT: (woken,)}


async def stranger(number: int, prefix: str, macs: list[str], met: Counter[str]) -> None:
    """One neighbour, for ever; ``met`` counts the servers that let him in."""
    rng, unverified = random.Random(number), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    while True:
        port = rng.choice(list(OF_PORT))
        host = f'{prefix}.{rng.choice(list(NODES)) if port == STATUS_PORT else 1}'
        with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(
                    host,
                    port,
                    ssl=unverified if port == TLS_PORT and rng.random() < 0.8 else None,
                    local_addr=(f'{prefix}.{200 + number % 50}', 0),
                )
                met[f'{host}:{port}'] += 1
                try:
                    await rng.choice((*ANYWHERE, *OF_PORT[port] * 2))(reader, writer, rng, macs)
                finally:
                    writer.close()
        await asyncio.sleep(rng.uniform(0.5, 1.5) * PAUSE)


async def siege(prefix: str, macs: list[str]) -> None:
    """All of them, until the standard input ends: so also when who began it has died. Prints whom they met."""
    met = Counter[str]()
    crowd = [asyncio.create_task(stranger(number, prefix, macs, met)) for number in range(STRANGERS)]
    await asyncio.to_thread(sys.stdin.buffer.read)
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    print(json.dumps(met))


if __name__ == '__main__':
    asyncio.run(siege(sys.argv[1], sys.argv[2:]))
