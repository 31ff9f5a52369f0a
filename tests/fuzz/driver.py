"""Where the inputs are kept, and how atheris makes more of them, guided by the lines that they reach."""

from __future__ import annotations

import gzip
import importlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

TARGETS = ('bundle', 'iso', 'manifest', 'boot')
Mutate = Callable[[bytes, random.Random], bytes]
CORPUS = Path(__file__).parent.parent / 'corpus'


def inputs(target: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each kept input."""
    for path in sorted((CORPUS / target).iterdir()):
        data = path.read_bytes()
        yield path.name, gzip.decompress(data) if path.suffix == '.gz' else data


def unpack(target: str, folder: Path) -> Path:
    """Write the kept inputs into a folder as atheris reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in inputs(target):
        (folder / name.removesuffix('.gz')).write_bytes(data)
    return folder


def harmless(exc: Exception) -> bool:
    """Whether a sentence is one line, and not endless."""
    return str(exc).isprintable() and len(str(exc)) < 2000


def drive(
    check: Callable[[bytes], None],
    *modules: str,
    mutate: Mutate | None = None,
    include: Sequence[str] = ('ovca.image',),
) -> None:
    """Let atheris look for an input that breaks ``check``; the arguments are those of libFuzzer.

    What is below the packages ``include`` guides it. ``mutate`` changes an input now and then in a way that random
    bytes hardly would.
    """
    import atheris

    with atheris.instrument_imports(include=list(include)):
        for module in modules:
            importlib.import_module(module)

    def changed(data: bytes, most: int, seed: int) -> bytes:
        if mutate is None or seed % 2:
            return bytes(atheris.Mutate(data, most))
        return mutate(data, random.Random(seed))[:most]

    if mutate is None:
        atheris.Setup(sys.argv, check)
    else:
        atheris.Setup(sys.argv, check, custom_mutator=changed)
    atheris.Fuzz()
