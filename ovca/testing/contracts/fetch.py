"""The contract of ``ovca.fetch``."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ovca.exceptions import FetchError
from ovca.image.fetch.base import Fetcher, FetchOptions, Opened
from ovca.testing.contracts.base import DriverContract, assert_no_secret, assert_sentence, raised, secrets_in

__all__ = ['FetchContract']

# Noise, so that a byte too many or at a wrong place is seen; several reads long.
SIZE = 3 * 1024 * 1024 + 17
OLD, NEW = random.Random(1).randbytes(SIZE), random.Random(2).randbytes(SIZE + 5)


class FetchContract(DriverContract):
    """A fetch driver: :meth:`make_source` offers bytes and returns their URI, :meth:`make_missing` a URI of nothing."""

    group = 'ovca.fetch'
    base = Fetcher
    resumes = True
    """Whether the source can be read from the middle on. Without it, a broken download begins anew."""

    @pytest.fixture(autouse=True)
    def _a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_source(self, content: bytes) -> str:
        """Offer the content and return its URI: at each call the same one. Give it a password if its kind may have."""
        self.missing('make_source()')

    def make_missing(self) -> str:
        """Return a URI at which there is nothing, with a password in it if its kind may have one."""
        self.missing('make_missing()')

    def make_driver(self, uri: str) -> Fetcher:
        """Return the driver for a URI, as the service makes it."""
        driver: Fetcher = self.loaded()(uri, FetchOptions({}, read_timeout=5, attempts=2, pause=0.01))
        return driver

    def make(self) -> Fetcher:
        """One driver."""
        return self.make_driver(self.make_source(OLD))

    @property
    def part(self) -> Path:
        """The file that keeps what was received."""
        return self.folder / 'part'

    def test_the_name_is_the_scheme(self) -> None:
        """A driver is found by the scheme of the URI."""
        scheme = urlsplit(self.make_source(OLD)).scheme or 'file'
        assert scheme == self.name, f'the driver {self.name} is never asked for URIs of the scheme {scheme}'

    def test_the_whole_content_comes_and_its_length_is_known(self) -> None:
        """``stream()`` gives the bytes of the source and no others; ``size`` is right, or None."""
        driver = self.make()

        got = b''.join(driver.stream(self.part, lambda: False))

        assert got == OLD, f'{len(got)} bytes came that are not the {len(OLD)} of the source'
        assert driver.size in (None, len(OLD)), f'size is {driver.size}, and the source has {len(OLD)} bytes'

    def test_it_opens_at_the_beginning(self) -> None:
        """``_open(0, None)`` says 0 and gives everything."""
        opened = self.make()._open(0, None)

        assert opened.offset == 0, f'opened at {opened.offset} instead of 0'
        assert b''.join(opened.chunks) == OLD, 'what _open(0, None) gives is not the content'

    def test_resuming_gives_exactly_the_missing_bytes(self) -> None:
        """``_open(n, validator)`` on an unchanged source says n and gives the bytes from n on.

        A source that says ``ranges`` has to; of others :attr:`resumes` tells whether they do.
        """
        for offset in (1, SIZE // 2, SIZE - 1):
            opened = self.make_driver(self.make_source(OLD))._open(offset, self._validator())
            rest = b''.join(opened.chunks)
            assert opened.offset in ((offset,) if self.resumes or opened.ranges else (0, offset)), (
                f'asked for the bytes from {offset} on, it opened at {opened.offset}'
            )
            assert rest == OLD[opened.offset :], f'opened at {offset}, {len(rest)} bytes came that are not the rest'
            assert opened.size in (None, SIZE), f'opened at {offset}, size is {opened.size} instead of {SIZE}'

    def test_a_source_that_changed_is_opened_at_the_beginning(self) -> None:
        """``_open(n, validator)`` never puts new bytes behind old ones: it says 0 when the source has changed."""
        before = self._validator()

        opened = self.make_driver(self.make_source(NEW))._open(SIZE // 2, before)

        assert opened.offset == 0, f'the source changed, and it opened at {opened.offset} instead of 0'
        assert b''.join(opened.chunks) in (NEW, b''), 'opened at 0, it does not give the new content'

    def test_an_interrupted_download_goes_on(self) -> None:
        """Stopped after the first piece and begun again with the same part, it gives the whole once."""
        first = b''.join(self.make().stream(self.part, lambda: True))
        assert 0 < len(first) < SIZE, f'told to stop after a piece, it gave {len(first)} of {SIZE} bytes'

        again = b''.join(self.make().stream(self.part, lambda: False))

        assert again == OLD, f'begun again, {len(again)} bytes came that are not the {SIZE} of the source'

    def test_a_complete_part_is_given_as_it_is(self) -> None:
        """When nothing is missing any more, the content is given once and is no error."""
        assert b''.join(self.make().stream(self.part, lambda: False)) == OLD

        again = b''.join(self.make().stream(self.part, lambda: False))

        assert again == OLD, f'with everything there, {len(again)} bytes came that are not the {SIZE} of the source'

    def test_a_missing_source_is_an_error_that_names_it_without_its_secrets(self) -> None:
        """What cannot be read is a FetchError with the URI, but without its password and query."""
        uri = self.make_missing()
        driver = self.make_driver(uri)

        text = str(raised(lambda: list(driver.stream(self.part, lambda: False)), FetchError, f'reading {self.name}'))

        assert_sentence(text, 'the error')
        assert_no_secret(text, secrets_in(uri), 'the error')
        assert driver.shown in text, f'the error does not name the source {driver.shown}: {text}'

    def _validator(self) -> str | None:
        opened: Opened = self.make()._open(0, None)
        # Read to its end: a source that is left half-read may keep its connection.
        assert b''.join(opened.chunks) == OLD
        if self.resumes:
            assert opened.validator, 'without a validator nothing can be resumed; set `resumes = False` if it is so'
        return opened.validator
