from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ovca.cli import completion, editor
from ovca.cli.app import OvcaApp
from tests.operated import Operated

Install = Callable[..., None]

PLUGIN = """
import time
from pathlib import Path
from ovca.cli import base

def slow(service):
    time.sleep(600)

def broken(service):
    print('noise')
    raise RuntimeError('broken')

class Paint(base.Command):
    \"\"\"Paint.\"\"\"

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('colour', choices=['red', 'green'])
        parser.add_argument('rest', nargs='*')
        parser.add_argument('--on', type=Path)
        parser.add_argument('--size', nargs=2, choices=['1', '2'])
        parser.add_argument('--tag', action='append', choices=['a', 'b'])
        parser.add_argument('-n', '--number', type=int)
        parser.add_argument('--hidden', help='==SUPPRESS==')
        base.completes(parser.add_argument('--slow'), slow)
        base.completes(parser.add_argument('--broken'), broken)
        one = parser.add_mutually_exclusive_group()
        one.add_argument('--matt', action='store_true')
        one.add_argument('--glossy', action='store_true')
        return parser

    def take_action(self, parsed_args):
        pass

class Torn(base.Command):
    \"\"\"Torn.\"\"\"

    def get_parser(self, prog_name):
        raise SystemExit('no parser today')
"""
ENTRIES = {'ovca.cli': {'paint': 'paintmod:Paint', 'torn': 'paintmod:Torn', 'gone': 'nosuchmod:Gone'}}


def app(config_file: Path | None = None) -> OvcaApp:
    result = OvcaApp(stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO())
    result.options = result.parser.parse_args(['--config-file', str(config_file)] if config_file else [])
    return result


def offered(line: str, config_file: Path | None = None) -> list[str]:
    """What is offered at the end of a line."""
    *words, current = line.split(' ')
    return completion.candidates(app(config_file), words, current)


@pytest.fixture
def painter(install: Install) -> None:
    install('paint-plugin', ENTRIES, paintmod=PLUGIN)


def test_the_first_word_is_a_command_and_none_is_imported(install: Install) -> None:
    install('paint-plugin', ENTRIES, paintmod='raise RuntimeError("imported")')

    assert offered('image-l') == ['image-list']
    assert 'paint' in offered('pai')
    assert {'paint', 'help'} <= set(offered(''))


@pytest.mark.usefixtures('painter')
@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('paint ', ['red', 'green']),
        ('paint r', ['red']),
        ('paint --tag ', ['a', 'b']),
        ('paint --tag=', ['--tag=a', '--tag=b']),
        ('paint --tag a --t', ['--tag']),
        ('paint --ta', ['--tag']),
        ('paint --hid', []),
        ('paint --size 1 ', ['1', '2']),
        ('paint --size 1 2 ', ['red', 'green']),
        ('paint --number 3 --num', []),
        ('paint -n', ['-n']),
        ('paint -n3 g', ['green']),
        ('paint -n 3 g', ['green']),
        ('paint --number=3 g', ['green']),
        ('paint --number ', []),
        ('paint --matt --g', []),
        ('paint --glossy --m', []),
        ('paint -- --t', []),
        ('paint -- ', ['red', 'green']),
        ('paint red blue --o', ['--on']),
        ('paint --nonsense r', ['red']),
        ('paint --broken ', []),
        ('torn ', []),
        ('gone ', []),
        ('nonsense ', []),
    ],
)
def test_what_may_follow_is_read_from_the_parser(line: str, words: list[str]) -> None:
    assert offered(line) == words


@pytest.mark.usefixtures('painter')
def test_where_no_argument_has_to_come_the_options_are_shown() -> None:
    assert '--tag' in offered('paint red ')
    assert '--format' in offered('node-list ')


@pytest.mark.usefixtures('painter')
def test_a_source_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, 'PATIENCE', 0.05)

    assert offered('paint --slow ') == []


@pytest.mark.usefixtures('painter')
def test_nothing_is_written_into_the_line_that_is_being_typed(capsys: pytest.CaptureFixture[str]) -> None:
    here = app()
    said = (here.stdout, here.stderr)

    for words in (['paint', '--broken'], ['gone'], ['torn']):
        completion.candidates(here, words, '')
    completion.program(here, ['--nonsense', '--version'], '')

    assert (here.stdout, here.stderr) == said
    assert isinstance(here.stderr, io.StringIO) and here.stderr.getvalue() == ''
    assert capsys.readouterr() == ('', '')
    assert sys.stdout is not here.stdout


@pytest.mark.usefixtures('painter')
def test_paths_are_offered_where_the_argument_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'walls').mkdir()
    (tmp_path / 'walls' / 'my wall').write_text('')
    (tmp_path / '.hidden').write_text('')
    monkeypatch.chdir(tmp_path)

    assert offered('paint --on w') == ['walls/']
    assert offered('paint --on=wa') == ['--on=walls/']
    assert offered('paint --on walls/') == ['walls/my wall']
    assert offered(f'paint --on {tmp_path}/.h') == [f'{tmp_path}/.hidden']
    assert '.hidden' not in offered('paint --on ')
    assert offered('download wal') == ['walls/']
    assert offered('paint --on nowhere/') == []


def test_values_come_from_the_appliance(operated: Operated) -> None:
    operated.started().image('1.1.0').image('1.2.0', digest='c' * 64)
    number = operated.update('DONE')

    for line, words in {
        'activate ': ['1.1.0', '1.2.0'],
        'image-show 1.2': ['1.2.0'],
        'node-show ': ['mn1', 'mn2'],
        'update-show ': [str(number)],
        'update-watch ': [str(number)],
        'event-list --update ': [str(number)],
        'event-list --node ': ['mn1', 'mn2'],
        'config-show cl': ['cluster'],
        'help node-l': ['node-list'],
        'node-list -f ': ['csv', 'json', 'table', 'value', 'yaml'],
    }.items():
        assert sorted(offered(line, operated.config_file)) == words, line


def test_every_command_offers_its_options() -> None:
    for name in app().command_manager.names():
        assert '--help' in offered(f'{name} --'), name


def test_a_broken_configuration_costs_only_what_is_read_from_it(config_file: Path) -> None:
    config_file.write_text('[nonsense]\n')

    assert [word for word in offered('node-show ', config_file) if not word.startswith('--')] == []
    assert offered('help node-l', config_file) == ['node-list']


def test_the_commands_of_a_command_are_offered_too() -> None:
    parser = argparse.ArgumentParser()
    inner = parser.add_subparsers()
    inner.add_parser('wash').add_argument('--hot', action='store_true')

    here = completion.place(parser, ['wash'])

    assert here.parser is inner.choices['wash']


@pytest.mark.parametrize(
    ('line', 'begin', 'endings'),
    [
        ('node-l', 0, ['node-list ']),
        ('exi', 0, ['exit ']),
        ('ovca node-l', 5, ['node-list ']),
        ('? node-l', 2, ['node-list ']),
        ('image-build my', 12, [r'my\ folder/', r'my\ file\ \|\ x ']),
        (r'image-build my\ fo', 16, ['folder/']),
        ('image-build "my fo', 16, ['folder/']),
        ('image-build "my fi', 16, ['file | x" ']),
        ("image-build 'my fi", 16, ["file | x' "]),
        ('node-list # -', 12, []),
    ],
)
def test_readline_gets_what_belongs_in_place_of_the_piece_at_the_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, begin: int, endings: list[str]
) -> None:
    (tmp_path / 'my folder').mkdir()
    (tmp_path / 'my file | x').write_text('')
    monkeypatch.chdir(tmp_path)

    assert sorted(editor.endings(app(), line, begin)) == sorted(endings)
