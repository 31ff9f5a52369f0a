from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest

from ovca import conf, plugins, testing
from ovca.conf import groups
from ovca.exceptions import ConfigError, PluginError
from tests.unit.conftest import Install

ROOT = Path(__file__).parents[3]
RACK = """
from oslo_config import cfg

OPTS = [
    cfg.IntOpt('height', default=42, min=1, max=60, mutable=True, help='How many units the rack has.'),
    cfg.StrOpt('token', secret=True, help='The token for the rack.'),
]


def opts():
    return OPTS
"""


@pytest.fixture
def rack(install: Install) -> None:
    """A plugin with the group [rack-unit]."""
    install('ovca_plugin_rack', {'ovca.conf': {'rack-unit': 'rackopts:OPTS'}}, rackopts=RACK)


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        conf.load(str(path), overrides)
    return str(caught.value)


def test_the_cores_groups_are_entry_points_too() -> None:
    # So that plugin-list shows them, and a plugin that takes one of their names is reported.
    declared = configparser.ConfigParser()
    declared.read(ROOT / 'setup.cfg')
    entries = declared['options.entry_points']['ovca.conf'].split('\n')

    assert sorted(filter(None, entries)) == sorted(f'{name} = ovca.conf.{name}:OPTS' for name in groups.core())


@pytest.mark.usefixtures('rack')
def test_a_plugins_group_stands_in_the_file_like_any_other(config_file: Path) -> None:
    config_file.write_text('[rack-unit]\nheight = 20\n')

    loaded = conf.load(str(config_file))

    assert loaded['rack-unit'].height == 20


@pytest.mark.usefixtures('rack')
def test_a_plugin_is_not_imported_until_something_names_its_group(config_file: Path) -> None:
    loaded = conf.load(str(config_file))
    before = 'rackopts' in sys.modules

    height = loaded['rack-unit'].height

    assert (before, height, 'rackopts' in sys.modules) == (False, 42, True)


def test_the_object_may_be_a_function(config_file: Path, install: Install) -> None:
    install('ovca_plugin_rack', {'ovca.conf': {'rack': 'rackopts:opts'}}, rackopts=RACK)

    assert conf.load(str(config_file)).rack.height == 42


@pytest.mark.usefixtures('rack')
@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[rack-unti]\nheight = 3\n', 'there is no group [rack-unti]; did you mean rack-unit?'),
        ('[rack-unit]\nhieght = 3\n', '[rack-unit] has no option hieght; did you mean height?'),
        ('[rack-unit]\nheight = 90\n', '[rack-unit] height: Should be less than or equal to 60'),
    ],
)
def test_its_options_are_checked_like_the_cores(config_file: Path, text: str, said: str) -> None:
    config_file.write_text(text)

    assert said in refusal(config_file)


@pytest.mark.usefixtures('rack')
def test_set_reaches_a_plugins_group(config_file: Path) -> None:
    assert conf.load(str(config_file), ['rack-unit.height=7'])['rack-unit'].height == 7
    assert refusal(config_file, 'rack-unit.height=0') == (
        '--set rack-unit.height: Should be greater than or equal to 1; write a whole number from 1 to 60'
    )
    assert refusal(config_file, 'rack-unti.height=1').endswith('did you mean rack-unit?')


def test_a_broken_plugin_matters_only_where_its_group_is_used(config_file: Path, install: Install) -> None:
    install('ovca_plugin_bad', {'ovca.conf': {'bad': 'badopts:OPTS'}}, badopts='import nothing_of_this_name')
    loaded = conf.load(str(config_file))
    shown = testing.run(['config-show', '-f', 'json'], config_file=config_file)

    config_file.write_text('[bad]\nx = 1\n')

    assert loaded.cluster.ttl == 30
    with pytest.raises(PluginError, match='ovca_plugin_bad'):
        loaded.bad  # noqa: B018
    assert shown.code == 0
    assert 'ovca.conf: bad of package ovca_plugin_bad 1.0 cannot be loaded: ModuleNotFoundError' in shown.err
    assert refusal(config_file) == (
        f'{config_file}: [bad] belongs to package ovca_plugin_bad 1.0, whose options cannot be loaded: '
        f"ModuleNotFoundError: No module named 'nothing_of_this_name'; "
        f'mend or remove the package, or take [bad] out of the file'
    )


def test_set_of_a_broken_plugins_option_names_the_package_once(config_file: Path, install: Install) -> None:
    install('ovca_plugin_bad', {'ovca.conf': {'bad': 'badopts:OPTS'}}, badopts='OPTS = [1]')

    assert refusal(config_file, 'bad.x=1') == (
        '--set bad.x: [bad] belongs to package ovca_plugin_bad 1.0, whose options cannot be loaded: 1 is no option of '
        'oslo.config; mend the package, or leave --set bad.x away'
    )


@pytest.mark.parametrize(
    ('entry', 'source', 'said'),
    [
        ('rack', 'OPTS = [1]', '1 is no option of oslo.config'),
        ('rack', 'OPTS = 5', "'int' object is not iterable"),
        ('rack', 'from oslo_config import cfg\nOPTS = [cfg.StrOpt("keys")]', 'no option can be called keys'),
        ('Rack', 'OPTS = []', 'made of small letters, digits and dashes'),
    ],
)
def test_what_is_no_list_of_options_is_named(
    config_file: Path, install: Install, entry: str, source: str, said: str
) -> None:
    install('ovca_plugin_bad', {'ovca.conf': {entry: 'badopts:OPTS'}}, badopts=source)
    config_file.write_text(f'[{entry}]\n')

    assert said in refusal(config_file)


def test_the_cores_groups_cannot_be_replaced(config_file: Path, install: Install) -> None:
    install('ovca_plugin_bad', {'ovca.conf': {'cluster': 'badopts:OPTS'}}, badopts=RACK)

    loaded = conf.load(str(config_file))

    assert loaded.cluster.ttl == 30
    assert any('ovca_plugin_bad' in str(loser) for loser, _ in plugins.clashes(groups.GROUP))


@pytest.mark.usefixtures('rack')
def test_all_that_is_installed_is_shown(config_file: Path) -> None:
    config_file.write_text('[rack-unit]\ntoken = hunter2\n')

    shown = testing.run(['config-show', 'rack-unit', '-f', 'json'], config_file=config_file)
    everything = testing.run(['config-show', '-f', 'json'], config_file=config_file)

    assert [(row['option'], row['value']) for row in shown.json] == [('height', 42), ('token', '****')]
    assert {'cluster', 'rack-unit'} <= {row['group'] for row in everything.json}


@pytest.mark.usefixtures('rack')
def test_the_sample_holds_the_plugins_options_and_is_valid(tmp_path: Path, config_file: Path) -> None:
    result = testing.run(['config-sample'], config_file=config_file)

    path = tmp_path / 'sample.conf'
    path.write_text(result.out)
    conf.load(str(path))
    assert (result.code, result.err) == (0, '')
    assert '\n[rack-unit]\n\n#\n# From ovca_plugin_rack\n#\n' in result.out
    assert 'From ovca.plugins' not in result.out
    assert '# How many units the rack has. (integer value)' in result.out
    assert '\n#self_demote = 20.0\n' in result.out
