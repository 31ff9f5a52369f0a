"""The contract of the commands finds what is wrong with them."""

from __future__ import annotations

from .conftest import Judged

DRIVERS = '''
import sys

from ovca.cli import base


class Good(base.Lister):
    """List the racks.

    Example: ovca good --height 42
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--height', metavar='<units>', type=int, help='only racks of this height')
        self.more(parser)
        return parser

    def more(self, parser):
        pass

    def take_action(self, parsed_args):
        return ('name', 'rack_height', 'doors', 'since'), [['a', 42, ['front', 'back'], None], ['b', 48, [], 'now']]


class Mute(Good):
    def take_action(self, parsed_args):
        return super().take_action(parsed_args)


class Plain(Good):
    """List the racks."""


class Stale(Good):
    """List the racks.

    Example: ovca stale --depth 42
    """


class Global(Good):
    """List the racks.

    Example: ovca global
    """

    def more(self, parser):
        parser.add_argument('--log', metavar='<file>', help='where to write')


class Unexplained(Good):
    """List the racks.

    Example: ovca unexplained
    """

    def more(self, parser):
        parser.add_argument('--width', metavar='<units>')


class Shouts(Good):
    """List the racks.

    Example: ovca shouts
    """

    def more(self, parser):
        parser.add_argument('--width', help='the width')


class Underscores(Good):
    """List the racks.

    Example: ovca underscores
    """

    def more(self, parser):
        parser.add_argument('--rack_width', metavar='<units>', help='the width')


class Lax(Good):
    """List the racks.

    Example: ovca lax
    """

    def more(self, parser):
        parser.add_argument('words', metavar='<word>', nargs='*', help='anything')
        parser.parse_known_args = lambda words=None, namespace=None, **_: (type(parser).parse_known_args(
            parser, [w for w in words if not w.startswith('--no-')], namespace))


class Camel(Good):
    """List the racks.

    Example: ovca camel
    """

    def take_action(self, parsed_args):
        names, rows = super().take_action(parsed_args)
        return ('name', 'Rack Height', 'doors', 'since'), rows


class Prints(Good):
    """List the racks.

    Example: ovca prints
    """

    def take_action(self, parsed_args):
        self.app.stdout.write('looking for racks ...\\\\n')
        return super().take_action(parsed_args)


class Decorates(Good):
    """List the racks.

    Example: ovca decorates
    """

    def take_action(self, parsed_args):
        if parsed_args.formatter == 'table':
            self.app.stdout.write('Racks:\\\\n')
        return super().take_action(parsed_args)


class Differs(Good):
    """List the racks.

    Example: ovca differs
    """

    def take_action(self, parsed_args):
        names, rows = super().take_action(parsed_args)
        if parsed_args.formatter == 'csv':
            rows = [[name, f'{height} U', doors, since] for name, height, doors, since in rows]
        return names, rows


class Renames(Good):
    """List the racks.

    Example: ovca renames
    """

    def take_action(self, parsed_args):
        names, rows = super().take_action(parsed_args)
        return (('name', 'height', 'doors', 'since') if parsed_args.formatter == 'table' else names), rows


class Fails(Good):
    """List the racks.

    Example: ovca fails
    """

    def take_action(self, parsed_args):
        self.exit_code = 1
        return super().take_action(parsed_args)
'''.replace('\\\\n', '\\n')
NAMES = {
    name.lower(): name
    for name in (
        *('Good', 'Mute', 'Plain', 'Stale', 'Global', 'Unexplained', 'Shouts', 'Underscores', 'Lax', 'Camel'),
        *('Prints', 'Decorates', 'Differs', 'Renames', 'Fails'),
    )
}
RIGHT = {
    'mute': 'test_its_help_shows_the_promise_and_an_example',
    'plain': 'test_its_help_shows_the_promise_and_an_example',
    'stale': 'test_its_example_is_understood',
    'global': 'test_it_has_no_option_that_is_a_global_one',
    'unexplained': 'test_each_argument_is_explained',
    'shouts': 'test_each_argument_is_explained',
    'underscores': 'test_each_argument_is_explained',
    'lax': 'test_a_wrong_option_is_told_on_stderr',
    'camel': 'test_columns_are_in_snake_case',
    'prints': 'test_all_formats_carry_the_same',
    'decorates': 'test_the_table_for_people_has_the_same_columns',
    'differs': 'test_all_formats_carry_the_same',
    'renames': 'test_the_table_for_people_has_the_same_columns',
    'fails': 'test_columns_are_in_snake_case',
}


def test_each_wrong_command_fails_the_right_test_and_a_good_one_none(judged: Judged) -> None:
    tests = '\n'.join(f'class Test_{name}(contracts.TableContract):\n    name = {name!r}\n' for name in NAMES)

    failed = judged({'ovca.cli': NAMES}, DRIVERS, tests, RIGHT)

    assert failed.pop('Test_good') == set()
    assert failed == {f'Test_{name}': {test} for name, test in RIGHT.items()}


def test_a_name_with_an_underscore_is_found(judged: Judged) -> None:
    tests = "class TestName(contracts.CommandContract):\n    name = 'rack_list'\n"

    failed = judged({'ovca.cli': {'rack_list': 'Good'}}, DRIVERS, tests)

    assert 'test_the_name_holds_no_underscore_and_belongs_to_one_package_only' in failed['TestName']


def test_a_name_that_the_core_has_is_found(judged: Judged) -> None:
    tests = "class TestName(contracts.CommandContract):\n    name = 'node-list'\n"

    failed = judged({'ovca.cli': {'node-list': 'Good'}}, DRIVERS, tests)

    assert 'test_the_name_holds_no_underscore_and_belongs_to_one_package_only' in failed['TestName']
