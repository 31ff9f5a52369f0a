from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovca import plugins, testing
from tests.operated import Operated
from tests.unit.cli.test_app import Vendor
from tests.unit.conftest import Install

Rows = list[dict[str, str]]
Check = Callable[..., tuple[int, Rows]]


@pytest.fixture
def check(operated: Operated) -> Check:
    """Run the command on a node of an appliance; the given lines go behind [image]."""

    def run(extra: str = '', *argv: str, text: str | None = None) -> tuple[int, Rows]:
        keys = operated.folder / 'keys'
        keys.mkdir(exist_ok=True)
        (keys / 'vendor.pub').write_text('')
        sound = (
            f'key_folder = {keys}\n[provision]\nroot = {operated.folder}\nstate_path = {operated.folder}\n'
            f'[power]\ndriver = fake\nbmc = mn1:a,mn2:b\n'
        )
        operated.configure('mn1', sound + extra)
        if text is not None:
            operated.config_file.write_text(text)
        operated.config_file.chmod(0o600)
        result = testing.run(['config-check', '-f', 'json', *argv], config_file=operated.config_file)
        assert bool(result.code) == ('[config-failed]' in result.err), result.err
        return result.code, result.json

    return run


def details(rows: Rows, result: str = 'failed') -> list[str]:
    return [row['detail'] for row in rows if row['result'] == result]


def only(rows: Rows, where: str) -> dict[str, str]:
    (row,) = [row for row in rows if row['where'] == where]
    return row


def test_a_sound_configuration_passes(check: Check, operated: Operated) -> None:
    code, rows = check('[cluster]\nreboot_command = true\npeer_url = http://mn2:6640\n')

    assert (code, details(rows)) == (0, [])
    assert only(rows, '[database]')['result'] == 'passed'
    assert only(rows, 'BMC of mn1')['result'] == only(rows, 'BMC of mn2')['result'] == 'passed'
    assert only(rows, str(operated.config_file))['detail'].startswith('sets ')


def test_all_mistakes_are_shown_at_once(check: Check, operated: Operated) -> None:
    code, rows = check(
        '[clstr]\nx = 1\n[cluster]\ntll = 3\nrenew_interval = 90\nport = x\n[update]\nca_file = /none/ca.pem\n'
        '[health]\nchecks = no-such-check\n[notify]\ndrivers = no-such-driver\n'
    )

    failed = details(rows)
    assert code == 3
    for part in (
        'there is no group [clstr]',
        '[cluster] has no option tll',
        "[cluster] port: 'x' is no whole number",
        'renew_interval = 90, self_demote = 20 and ttl = 30 must rise',
        '/none/ca.pem holds no CA certificates',
        "ovca.health: there is no 'no-such-check'",
        "ovca.notify: there is no 'no-such-driver'",
    ):
        assert any(part in detail for detail in failed), part
    hints = {row['detail']: row['remedy'] for row in rows}
    assert hints['there is no group [clstr]'] == 'did you mean cluster?'
    assert hints['[cluster] has no option tll'] == 'did you mean ttl?'


def test_a_file_that_is_no_configuration_does_not_hide_the_rest(check: Check, operated: Operated) -> None:
    vendor = operated.folder / 'ovca/vendor.d'
    vendor.mkdir(parents=True)
    (vendor / 'rack.conf').write_text('[cluster]\ntll = 1\n')

    code, rows = check(text='nonsense\n')

    assert code == 3
    assert any(row['where'] == str(operated.config_file) and 'line 1' in row['detail'] for row in rows)
    assert any(row['where'] == str(vendor / 'rack.conf') and 'tll' in row['detail'] for row in rows)


def test_what_depends_on_a_wrong_value_is_skipped_and_says_so(check: Check) -> None:
    _, rows = check('timeout = x\n[database]\nlock_timeout = x\n')

    assert only(rows, '[database]')['result'] == 'skipped'
    assert only(rows, '[database]')['detail'] == 'skipped: [database] lock_timeout is wrong'
    assert only(rows, 'BMC of mn1')['detail'] == 'skipped: [power] timeout is wrong'


def test_offline_asks_neither_the_database_nor_the_bmcs(check: Check) -> None:
    code, rows = check(
        '[cluster]\nreboot_command = true\n[database]\nconnection = postgresql://127.0.0.1:1/x\n', '--offline'
    )

    assert code == 0
    assert details(rows, 'skipped') == ['skipped: --offline was given'] * 3


def test_a_database_that_does_not_answer_fails_without_its_password(check: Check) -> None:
    code, rows = check('[database]\nconnection = postgresql://a:hunter2@127.0.0.1:1/x\nconnect_timeout = 1\n')

    row = only(rows, '[database]')
    assert (code, row['result']) == (3, 'failed')
    assert 'hunter2' not in str(rows)
    assert row['remedy']


def test_a_database_file_is_not_made_by_looking(check: Check, tmp_path: Path) -> None:
    _, rows = check(f'[database]\nconnection = sqlite:///{tmp_path}/other.sqlite\n')

    assert only(rows, '[database]')['result'] == 'warning'
    assert not (tmp_path / 'other.sqlite').exists()


def test_a_bmc_that_nobody_named_fails(check: Check) -> None:
    _, rows = check('bmc = mn1:a\n')

    assert only(rows, 'BMC of mn2')['detail'] == 'there is no BMC for mn2'


def test_an_option_that_is_set_twice_is_pointed_out(check: Check) -> None:
    _, rows = check('[update]\nlimit_rate = 1\nlimit_rate = 2\n')

    assert '[update] limit_rate is set 2 times' in details(rows, 'warning')


def test_plugins_are_loaded_and_their_groups_checked(check: Check, install: Install) -> None:
    install(
        'ovca_plugin_rack',
        {
            'ovca.conf': {'rack': 'rackmod:OPTS', 'cluster': 'rackmod:OPTS'},
            'ovca.health': {'rack': 'rackmod:Rack', 'broken': 'rackmod:Missing'},
        },
        rackmod=(
            'from oslo_config import cfg\nfrom ovca.cluster.health import HealthCheck\n'
            'OPTS = [cfg.IntOpt("height", max=60)]\nclass Rack(HealthCheck):\n    def check(self): ...\n'
        ),
    )

    _, rows = check('[health]\nchecks = rack,broken\n[rack]\nheight = 70\n')

    shown: dict[str, Any] = {row['detail']: row['result'] for row in rows}
    assert shown['[rack] height: Should be less than or equal to 60'] == 'failed'
    assert shown['rack: ovca_plugin_rack'] == 'passed'
    assert any('broken of package ovca_plugin_rack' in d and r == 'failed' for d, r in shown.items())
    assert any('is ignored, as the name belongs to ovca' in d and r == 'warning' for d, r in shown.items())


def test_every_extension_without_which_the_service_does_not_start_is_looked_at(check: Check) -> None:
    options = {
        '[power] driver', '[provision] driver', '[cluster] roles', '[health] checks', '[check] enabled',
        '[notify] drivers', '[provision] site_items', '[remaster] components', '[backup] sources',
    }  # fmt: skip
    groups: dict[str, str] = {}
    for option in sorted(options):
        group, _, name = option.partition(' ')
        groups[group] = groups.get(group, group) + f'\n{name} = nosuch'

    code, rows = check('\n'.join(groups.values()) + '\n')

    missing = {row['where'] for row in rows if row['result'] == 'failed' and 'nosuch' in row['detail']}
    assert (code, missing - {'BMC of mn1', 'BMC of mn2'}) == (3, options)
    # A source's driver is chosen by an operator's URI.
    assert len(options) == len(set(plugins.BASES) - {'ovca.fetch'})


def test_a_group_that_cannot_be_loaded_has_cause_and_remedy_in_their_columns(check: Check, install: Install) -> None:
    install('ovca_plugin_bad', {'ovca.conf': {'bad': 'badopts:OPTS'}}, badopts='raise RuntimeError("a; b")')

    _, rows = check('[bad]\nx = 1\n')

    (row,) = [row for row in rows if '[bad]' in row['detail']]
    assert row['detail'] == (
        '[bad] belongs to package ovca_plugin_bad 1.0, whose options cannot be loaded: RuntimeError: a; b'
    )
    assert row['remedy'] == 'mend or remove the package, or take [bad] out of the file'


def test_set_is_checked_as_well(operated: Operated) -> None:
    result = testing.run(
        ['--set', 'image.keep=0', 'config-check', '--offline', '-f', 'json'], config_file=operated.config_file
    )

    assert only(result.json, '--set image.keep')['remedy'] == 'write a whole number from 2 to 1000'


def test_a_configuration_that_is_missing_is_an_error_of_its_own(tmp_path: Path) -> None:
    result = testing.run(['config-check'], config_file=tmp_path / 'none.conf')

    assert (result.code, result.out) == (3, '')
    assert result.err.endswith('[config-missing]\n')


def test_it_runs_in_another_cliff_application(operated: Operated) -> None:
    vendor = Vendor('--config-file')

    code = vendor.run('--config-file', str(operated.config_file), 'config-check', '--offline', '-f', 'json')

    assert code == 3  # there is no key, and the default needs signatures
    assert only(json.loads(vendor.out.getvalue()), '[image] key_folder')['result'] == 'failed'
