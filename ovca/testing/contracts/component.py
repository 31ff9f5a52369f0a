"""The contract of ``ovca.component``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ovca.exceptions import OvcaError
from ovca.remaster.components import Component
from ovca.testing.appliance import Config
from ovca.testing.contracts.base import DriverContract, assert_sentence, raised

__all__ = ['ComponentContract']

OLD, NEW = '1.1.0', '1.2.0'


class ComponentContract(DriverContract):
    """A component: :meth:`make_driver` gives objects of one device, :meth:`make_broken` one that fails."""

    group = 'ovca.component'
    base = Component

    @pytest.fixture(autouse=True)
    def _an_appliance(self, tmp_path: Path) -> None:
        self.config = Config(tmp_path / 'appliance')

    def make_driver(self) -> Component:
        """Return a new object of the same device at each call, as another node has it."""
        self.missing('make_driver()')

    def make_broken(self) -> Component:
        """Return an object that cannot apply anything: its device is not there, or refuses."""
        self.missing('make_broken()')

    def make_tree(self, version: str) -> Path:
        """Return the published folder of a version; override it when the component needs certain files there."""
        tree = self.config.shared / f'{self.name}_image' / version
        tree.mkdir(parents=True, exist_ok=True)
        (tree / 'release').write_text(f'{self.name} {version}\n')
        return tree

    def make(self) -> Component:
        """One object."""
        return self.make_driver()

    def test_applied_is_a_version_or_none(self) -> None:
        """``applied()`` answers with a text, or with None when nothing is installed."""
        answer = self.make_driver().applied()
        assert answer is None or (isinstance(answer, str) and answer), f'applied() answers {answer!r}'

    def test_a_version_is_in_force_when_apply_returns(self) -> None:
        """After ``apply()`` the version is what ``applied()`` says; a newer one replaces it."""
        component = self.make_driver()
        for version in (OLD, NEW):
            component.apply(version, self.make_tree(version))
            assert component.applied() == version, f'{version} was applied, and applied() says {component.applied()!r}'

    def test_the_other_node_sees_what_is_applied(self) -> None:
        """``applied()`` reads the world, and no note of the object or the node that applied it."""
        self.make_driver().apply(NEW, self.make_tree(NEW))

        seen = self.make_driver().applied()

        assert seen == NEW, f'{NEW} was applied by another object, and applied() says {seen!r}'

    def test_applying_again_changes_nothing(self) -> None:
        """After a crash or a fail-over ``apply()`` comes again, with the same version, perhaps on the other node."""
        tree = self.make_tree(NEW)
        for component in (self.make_driver(), self.make_driver()):
            component.apply(NEW, tree)
            component.apply(NEW, tree)
            assert component.applied() == NEW, f'applied twice, applied() says {component.applied()!r}'

    def test_the_published_tree_is_left_as_it_is(self) -> None:
        """The tree lies on the shared storage and is the other node's as well: nothing in it changes."""
        tree = self.make_tree(NEW)
        before = _content(tree)

        self.make_driver().apply(NEW, tree)

        assert _content(tree) == before, f'apply() changed the published tree: {_content(tree).keys() ^ before.keys()}'

    def test_what_fails_is_an_error_that_says_why_and_is_not_in_force(self) -> None:
        """A version that could not be applied is a ComponentError with one sentence, and never shown as applied."""
        component = self.make_broken()
        tree = self.make_tree(NEW)

        text = str(raised(lambda: component.apply(NEW, tree), OvcaError, 'apply() of a component that is broken'))

        assert_sentence(text, 'the error')
        try:
            assert component.applied() != NEW, f'apply() failed, and applied() says {NEW}'
        except OvcaError as exc:
            assert_sentence(str(exc), 'the error of applied()')


def _content(tree: Path) -> dict[str, str]:
    return {
        str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ''
        for path in tree.rglob('*')
    }
