"""The contract of the fetch drivers finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = '''
from ovca.image.errors import SourceError
from ovca.image.fetch.base import Fetcher, Opened

TAPE = {}
PIECE = 512 * 1024


class Good(Fetcher):
    def _open(self, offset, validator):
        content = TAPE.get(self.uri.partition('#')[0])
        if content is None:
            raise SourceError(self.shown, 'there is no such tape')
        return self.opened(content, offset, validator)

    def opened(self, content, offset, validator):
        mark = str(hash(content))
        start = offset if validator == mark else 0
        return Opened(start, len(content), mark, self.pieces(content, start))

    def pieces(self, content, start):
        for place in range(start, len(content), PIECE):
            yield content[place:place + PIECE]


class Lies(Good):
    """Says that it begins where it was asked to, and begins at the beginning."""

    def opened(self, content, offset, validator):
        return Opened(offset, len(content), str(hash(content)), self.pieces(content, 0))


class Blind(Good):
    """Does not look at the validator."""

    def opened(self, content, offset, validator):
        return Opened(offset, len(content), str(hash(content)), self.pieces(content, offset))


class Lazy(Good):
    """Always begins at the beginning, and does not say so in its contract."""

    def opened(self, content, offset, validator):
        return Opened(0, len(content), str(hash(content)), self.pieces(content, 0))


class Promises(Good):
    """Says that it can begin anywhere, and always begins at the beginning."""

    def opened(self, content, offset, validator):
        return Opened(0, len(content), str(hash(content)), self.pieces(content, 0), ranges=True)


class Loses(Good):
    def pieces(self, content, start):
        yield from super().pieces(content[:-1], start)


class Miscounts(Good):
    def stream(self, part, stopped):
        yield from super().stream(part, stopped)
        self.size += 1


class Deaf(Good):
    def stream(self, part, stopped):
        yield from super().stream(part, lambda: False)


class Talks(Good):
    def _open(self, offset, validator):
        if self.uri.partition('#')[0] not in TAPE:
            raise SourceError(self.uri, 'there is no such tape')
        return super()._open(offset, validator)


class Foreign(Good):
    def _open(self, offset, validator):
        return self.opened(TAPE[self.uri.partition('#')[0]], offset, validator)
'''
NAMES = {name.lower(): name for name in ('Good', 'Lies', 'Blind', 'Lazy', 'Loses', 'Miscounts', 'Deaf', 'Talks')}
NAMES |= {'foreign': 'Foreign', 'elsewhere': 'Good'}
TESTS = """
class Base(contracts.FetchContract):
    def make_source(self, content):
        uri = f'{self.scheme}://otto:secret@tapes/{self.scheme}'
        wrong.TAPE[uri] = content
        return uri

    def make_missing(self):
        return f'{self.scheme}://otto:secret@tapes/none?token=geheim'

"""
RIGHT = {
    'lies': 'test_resuming_gives_exactly_the_missing_bytes',
    'blind': 'test_a_source_that_changed_is_opened_at_the_beginning',
    'lazy': 'test_resuming_gives_exactly_the_missing_bytes',
    'loses': 'test_it_opens_at_the_beginning',
    'miscounts': 'test_the_whole_content_comes_and_its_length_is_known',
    'deaf': 'test_an_interrupted_download_goes_on',
    'talks': 'test_a_missing_source_is_an_error_that_names_it_without_its_secrets',
    'foreign': 'test_a_missing_source_is_an_error_that_names_it_without_its_secrets',
    'elsewhere': 'test_the_name_is_the_scheme',
}


def test_each_wrong_driver_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = TESTS + '\n'.join(
        f'class Test_{name}(Base):\n    name = {name!r}\n    scheme = {"tape" if name == "elsewhere" else name!r}\n'
        for name in NAMES
    ).replace('scheme = tape', "scheme = 'tape'")

    failed = judged({'ovca.fetch': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}


def test_a_source_that_cannot_begin_in_the_middle_may_say_so(judged: Judged) -> None:
    tests = TESTS + "class TestLazy(Base):\n    name = scheme = 'lazy'\n    resumes = False\n"

    failed = judged({'ovca.fetch': {'lazy': 'Lazy'}}, DRIVERS, tests)

    # The base begins anew with an error, SourceChanged; the pipeline goes on from there.
    assert 'test_resuming_gives_exactly_the_missing_bytes' not in failed['TestLazy']


def test_a_source_that_promises_to_begin_anywhere_has_to(judged: Judged) -> None:
    tests = TESTS + "class TestPromises(Base):\n    name = scheme = 'promises'\n    resumes = False\n"

    failed = judged({'ovca.fetch': {'promises': 'Promises'}}, DRIVERS, tests)

    assert 'test_resuming_gives_exactly_the_missing_bytes' in failed['TestPromises']
