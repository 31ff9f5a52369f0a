"""What the start of a command may cost, as imports: times are for the bench."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovca import testing
from tests.operated import Operated

HEAVY = """
raise RuntimeError('imported')

class Heavy(object):
    '''Compute the weight of the world.'''
"""
HELP_MAY_IMPORT = {
    'ovca',
    'ovca.__main__',
    'ovca.cli',
    'ovca.cli.main',
    'ovca.cli.options',
    'ovca.cli.overview',
    'ovca.exceptions',
    'ovca.plugins',
}
"""Of ovca. Of other packages: none."""
OTHERS_NEVER = {'cliff', 'stevedore', 'oslo_config', 'sqlalchemy', 'requests', 'rich', 'prettytable', 'yaml'}
PROBE = """
import runpy, sys
sys.argv[1:] = {words!r}
try:
    runpy.run_module('ovca', run_name='__main__')
except SystemExit as exc:
    code = exc.code or 0
print(*sorted(sys.modules), sep='\\n', file=sys.stderr)
sys.exit(code)
"""


def modules(words: list[str], folder: Path) -> tuple[set[str], str]:
    """What is imported by the end of a run, and its output."""
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(folder), *filter(None, sys.path)])}
    program = [sys.executable, '-c', PROBE.format(words=words)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split('\n')), done.stdout


@pytest.fixture
def heavy(tmp_path: Path) -> Path:
    """A folder with a plugin that must not be imported."""
    testing.write_distribution(tmp_path, 'heavy', {'ovca.cli': {'weigh': 'heavymod:Heavy'}}, heavymod=HEAVY)
    return tmp_path


@pytest.mark.parametrize('words', [['--help'], ['-h'], ['--version']])
def test_help_and_version_import_next_to_nothing(words: list[str], heavy: Path) -> None:
    loaded, _ = modules(words, heavy)

    assert {name for name in loaded if name.split('.')[0] == 'ovca'} <= HELP_MAY_IMPORT
    assert not loaded & OTHERS_NEVER
    assert 'heavymod' not in loaded


def test_help_tells_what_a_plugin_promises_without_importing_it(heavy: Path) -> None:
    _, out = modules(['--help'], heavy)

    assert '  weigh            Compute the weight of the world (heavy)\n' in out


def test_a_command_imports_no_other_command_and_no_driver(heavy: Path) -> None:
    loaded, _ = modules(['plugin-list', '--help'], heavy)

    assert {name for name in loaded if name.startswith('ovca.')} <= HELP_MAY_IMPORT | {
        'ovca.cli.app',
        'ovca.cli.base',
        'ovca.cli.commands',
        'ovca.cli.output',
        'ovca.cli.plugin',
        'ovca.pages',
    }
    assert not loaded & (OTHERS_NEVER - {'cliff', 'stevedore'})
    assert 'heavymod' not in loaded


def test_a_list_does_not_import_what_it_does_not_need(heavy: Path, operated: Operated) -> None:
    loaded, out = modules(['--config-file', str(operated.started().image('1.1.0').config_file), 'image-list'], heavy)

    assert '1.1.0' in out
    unneeded = {'alembic', 'cryptography', 'minisign', 'psycopg', 'pycdlib', 'requests', 'rich', 'starlette', 'sushy'}
    assert not loaded & (unneeded | {'ovca.image.channel', 'ovca.image.pipeline', 'ovca.remaster.plan'})
    assert 'sqlalchemy.dialects.postgresql' not in loaded
    assert 'heavymod' not in loaded
