"""One download in a process of its own, as the service does it; prints what it took as JSON.

    python bench/image_receive.py <uri> <folder> <keys> <ca> {overlapped,stages,verify} {isal,zlib} <connections>

``stages`` does the same work with the same code, but one stage after the other; ``verify`` verifies what was downloaded
before, and only that is measured.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Download, and print the seconds, the peak of memory in bytes, and the times of the stages."""
    uri, folder, keys, ca, how, inflate, connections = sys.argv[1:]
    if inflate == 'zlib':
        sys.modules['isal'] = None  # type: ignore[assignment]
    from ovca.files import sync_filesystem
    from ovca.image import deflate, pipeline

    stages: dict[str, Any] = {}

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.args:
                stages.update(json.loads(str(record.args[0])))  # type: ignore[index]

    pipeline.LOG.setLevel(logging.DEBUG)
    pipeline.LOG.addHandler(Handler())
    conf = configured(Path(folder), Path(keys), ca, connections)
    if how == 'verify':
        overlapped(uri, conf)
        sync_filesystem(Path(folder))
    begin, processor = time.perf_counter(), time.process_time()
    {'overlapped': overlapped, 'stages': one_after_the_other, 'verify': verified}[how](uri, conf)
    sync_filesystem(Path(folder))
    seconds = time.perf_counter() - begin
    fields = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    print(
        json.dumps(
            {
                'seconds': seconds,
                'processor': time.process_time() - processor,
                'memory': int(fields['VmHWM'].split()[0]) * 1024,
                'stages': stages,
                'inflate': deflate.NAME,
            }
        )
    )


def configured(folder: Path, keys: Path, ca: str, connections: str) -> Any:
    """The configuration: a download reads nothing else of it."""
    from ovca.conf import load

    options = {
        'image.shared_storage': folder,
        'image.key_folder': keys,
        'update.ca_file': ca,
        'update.connections': connections,
    }
    return load('/dev/null', [f'{name}={value}' for name, value in options.items()])


def overlapped(uri: str, conf: Any) -> None:
    """What ``ovca download`` does."""
    from ovca.image import Store, receive

    receive(
        uri,
        store=Store.from_conf(conf),
        conf=conf,
        progress=lambda _: None,
        cancelled=lambda: False,
        accept=lambda _: None,
        commit=lambda _: None,
    )


def verified(uri: str, conf: Any) -> None:
    """What ``ovca image-verify`` does."""
    from ovca.image import Store, examine

    assert examine(Store.from_conf(conf), '1.1.0').differences == ()


def one_after_the_other(uri: str, conf: Any) -> None:
    """Receive all; inflate all; hash all; then write the trees."""
    from ovca.image.bundle import Bundle
    from ovca.image.fetch import fetcher
    from ovca.image.flow import Flow
    from ovca.image.limits import WIDEST
    from ovca.image.manifest import Manifest, parse_files
    from ovca.image.output import Output
    from ovca.image.trees import Trees

    folder = Path(conf.image.shared_storage)
    part = folder / 'bundle.zip'
    for _ in fetcher(uri, conf).stream(part, lambda: False):
        pass

    def pieces() -> Any:
        with part.open('rb') as stream:
            while data := stream.read(1024 * 1024):
                yield data

    bundle, members = Bundle(pieces(), uri), {}
    while (member := bundle.next()) is not None and not member.name.endswith('.iso'):
        members[member.name] = b''.join(bundle.content(2**28))
    manifest = Manifest.parse(members['manifest.json'], uri)
    output = Output(folder / 'image.iso', manifest.iso.size)
    for data in bundle.content(2**34):
        output.write(data)
    output.close(0o644)
    with (folder / 'image.iso').open('rb') as stream:
        assert hashlib.file_digest(stream, 'sha256').hexdigest() == manifest.iso.sha256
    files = parse_files(members['files.json'], uri)

    def place(top: str, rest: str) -> Path:
        return folder / top / rest

    Trees(Flow(), folder / 'image.iso', manifest.iso.size, files, place, uri, WIDEST).finish(lambda _: None)
    part.unlink()


if __name__ == '__main__':
    main()
