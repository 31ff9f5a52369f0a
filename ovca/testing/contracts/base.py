"""What all contracts have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn
from urllib.parse import parse_qsl, urlsplit

from ovca import plugins
from ovca.exceptions import OvcaError

__all__ = ['Contract', 'DriverContract']


# The classes are no ABCs: pytest passes over a class that is still abstract without a word, and a contract that is
# not run is worse than none. A missing method fails each test that needs it.


class Contract:
    """Tests of one entry point. What a ``make_`` method needs of fixtures it takes from an autouse fixture."""

    group: ClassVar[str]
    """The entry-point group."""
    name: str = ''
    """The name of the entry point."""

    def missing(self, method: str) -> NoReturn:
        """Say that the author has to write a method, and where to read about it."""
        contract = next(kind.__name__ for kind in type(self).__mro__ if kind.__module__.startswith(__package__))
        raise NotImplementedError(
            f'{type(self).__name__} has to define {method}; see {contract} on the page "Tests of a plugin" '
            f'(plugins/testing) of the documentation'
        )

    def loaded(self) -> Any:
        """What the entry point leads to."""
        if not self.name:
            self.missing('name, the name of the entry point')
        return plugins.load_one(self.group, self.name)

    def test_the_name_holds_no_underscore_and_belongs_to_one_package_only(self) -> None:
        """Names are words with dashes, and a name that another package has already is never used."""
        assert self.name, 'set `name` to the name of the entry point'
        assert self.name == self.name.lower(), f'{self.name}: a name is in small letters'
        assert '_' not in self.name, f'{self.name}: write a dash instead of the underscore'
        found = [e.package for e in plugins.extensions(self.group) if e.name == self.name]
        assert found, f'no installed package brings {self.name} in {self.group}; install yours before its tests run'
        assert len(found) == 1, f'{self.group}: {self.name} is brought by several packages: {", ".join(found)}'


class DriverContract(Contract):
    """Tests of a class that derives from the base of its group."""

    base: ClassVar[type[Any]]
    """The base class of the group."""

    def make(self) -> Any:
        """Return one object, whatever its state."""
        self.missing('make()')

    def test_the_entry_point_leads_to_the_class_that_is_tested(self) -> None:
        """What is tested here is what the configuration's name loads."""
        loaded, made = self.loaded(), self.make()
        assert isinstance(loaded, type), f'{self.name} leads to {loaded!r}; it has to be a class'
        assert isinstance(made, loaded), f'{self.name} leads to {loaded!r}, but the tests make a {type(made)!r}'
        assert issubclass(loaded, self.base), f'{loaded!r} does not derive from {self.base!r}'

    def test_it_is_written_for_this_api(self) -> None:
        """``api`` is the number of the base: a driver that was written for another is refused by name."""
        assert self.loaded().api == self.base.api, f'api is {self.loaded().api}, and the base has {self.base.api}'


def raised(call: Callable[[], Any], kind: type[OvcaError], what: str) -> OvcaError:
    """Return the error that a call ends with, which has to be of this kind."""
    try:
        answer = call()
    except kind as exc:
        return exc
    except Exception as exc:
        raise AssertionError(
            f'{what}: {type(exc).__name__} came out ({exc}); errors of the world are {kind.__name__}s'
        ) from exc
    raise AssertionError(f'{what}: no error came out, but {answer!r}')


def assert_sentence(text: Any, what: str) -> None:
    """A text that an operator is shown is one line that says something."""
    assert isinstance(text, str), f'{what} is no text, but {text!r}'
    assert text.strip(), f'{what} is empty'
    assert '\n' not in text.strip(), f'{what} is longer than a line: {text!r}'
    assert 'Traceback' not in text, f'{what} shows the inside of the program: {text!r}'


def secrets_in(uri: str, *more: str | None) -> list[str]:
    """The secrets of a URI, its password and the values of its query; and others that are known."""
    parts = urlsplit(uri)
    found = [parts.password, *(value for _, value in parse_qsl(parts.query)), *more]
    return [secret for secret in found if secret]


def assert_no_secret(text: str, secrets: list[str], what: str) -> None:
    """None of the secrets is shown."""
    for secret in secrets:
        assert secret not in text, f'{what} shows a secret, {secret!r}: {text}'


def eventually(true: Callable[[], bool], patience: float) -> bool:
    """Whether something comes to hold within so many seconds."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
