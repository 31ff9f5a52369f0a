"""The stages that inflate an ISO, hash it if need be, write it, and give its bytes to those that write its trees."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

from ovca.image.bundle import Bundle, Member, Unpacked
from ovca.image.errors import BundleError
from ovca.image.flow import Flow, Pipe
from ovca.image.output import Output
from ovca.image.trees import BATCH, Data, Trees
from ovca.image.unfinished import Unfinished


class OnePass:
    """One way of a bundle's ISO to the disk.

    ``expected`` is its size where somebody vouches for one; else it has at most ``limit`` bytes.
    """

    def __init__(
        self, flow: Flow, bundle: Bundle, member: Member, expected: int | None, limit: int, source: str
    ) -> None:
        self._flow, self._bundle, self._member, self._source = flow, bundle, member, source
        self._expected, self._limit = expected, limit
        self._written: Pipe[list[Data]] = Pipe(flow)
        self._pipes = [self._written]
        self.digest: str | None = None
        """That of the whole, when all stages are done; None unless it was asked for."""
        self._trees: Trees | None = None

    def start(self, target: Path | Unfinished, trees: Trees | None, *, hashed: bool) -> None:
        """Begin to write the ISO, and its trees with it; with ``hashed`` it gets its :attr:`digest`.

        What is in an ``Unfinished`` one already comes from there.
        """
        self._trees = trees
        if trees is not None:
            self._pipes.append(trees.pieces)
            trees.start()
        if hashed:
            whole: Pipe[list[Data]] = Pipe(self._flow)
            self._pipes.append(whole)
            self._flow.start('hash', lambda: self._hash(whole))
        unpacked = target.unpacked if isinstance(target, Unfinished) else None
        self._flow.start('inflate', lambda: self._inflate(unpacked))
        self._flow.start('iso', lambda: self._write(target))

    def _inflate(self, unpacked: Unpacked | None) -> None:
        size = handed = 0
        batch: list[Data] = []
        for data in self._bundle.content(self._expected or self._limit, unpacked):
            batch.append(data)
            size += len(data)
            if size - handed >= BATCH:
                self._hand_on(batch, size - handed)
                batch, handed = [], size
        self._hand_on(batch, size - handed)
        if self._expected is not None and size != self._expected:
            raise BundleError(self._source, f'{self._member.name} has {size} bytes, the manifest says {self._expected}')
        for pipe in self._pipes:
            pipe.end()
        if self._bundle.next() is not None:
            raise BundleError(self._source, 'it holds a member too many', id='not-a-bundle')

    def _hand_on(self, batch: list[Data], size: int) -> None:
        for pipe in self._pipes:
            pipe.put(batch, size)

    def _hash(self, whole: Pipe[list[Data]]) -> None:
        digest = hashlib.sha256()
        for batch in whole:
            for data in batch:
                digest.update(data)
        self.digest = digest.hexdigest()

    def _write(self, target: Path | Unfinished) -> None:
        pieces = itertools.chain.from_iterable(self._written)
        if isinstance(target, Unfinished):
            target.write(pieces)
            return
        output = Output(target, self._expected or 0, read=self._trees is None)
        try:
            for data in pieces:
                output.write(data)
        finally:
            output.close(0o644)
