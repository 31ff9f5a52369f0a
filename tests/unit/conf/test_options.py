from __future__ import annotations

import re
from pathlib import Path

import pytest
from oslo_config import cfg, types

from ovca import conf
from ovca.conf import groups
from ovca.conf.together import RULES
from ovca.exceptions import ConfigError

OPTIONS = [(group, option) for group, options in conf.list_opts() for option in options]
IDS = [f'{group}.{option.dest}' for group, option in OPTIONS]
NUMBERS = [(group, option) for group, option in OPTIONS if isinstance(option.type, types.Number)]
COUNT = re.compile(r'How many |Seconds |[Tt]he (most |largest image, in )?bytes|The port ')

every_option = pytest.mark.parametrize(('group', 'option'), OPTIONS, ids=IDS)


@every_option
def test_every_option_explains_itself_in_sentences(group: str, option: cfg.Opt) -> None:
    assert option.help
    assert option.help[0].isupper()
    assert option.help.endswith('.')


@every_option
def test_no_option_takes_just_any_text(group: str, option: cfg.Opt) -> None:
    item = getattr(option.type, 'item_type', None) or getattr(option.type, 'value_type', None)

    assert type(option.type) is not types.String
    assert item is None or type(item) is not types.String


@pytest.mark.parametrize(('group', 'option'), NUMBERS)
def test_every_number_has_bounds_and_says_what_it_counts(group: str, option: cfg.Opt) -> None:
    assert option.type.min is not None
    assert option.type.max is not None
    assert COUNT.match(option.help), f'[{group}] {option.dest}: {option.help}'


@pytest.mark.parametrize(('group', 'option'), [(g, o) for g, o in NUMBERS if isinstance(o, cfg.FloatOpt)])
def test_every_time_is_in_seconds(group: str, option: cfg.Opt) -> None:
    assert option.help.startswith('Seconds ')


@every_option
def test_no_option_is_hidden_by_a_method_of_its_group(group: str, option: cfg.Opt) -> None:
    # conf.image.keys would be the method of a mapping, and never the option.
    assert not hasattr(cfg.ConfigOpts.GroupAttr, option.dest)


@every_option
def test_whatever_may_hold_a_password_can_stand_in_a_file(group: str, option: cfg.Opt) -> None:
    siblings = {other.dest for other in groups.core()[group]}
    holds = option.dest in ('connection', 'uri') or (option.dest.endswith('_proxy') and option.dest != 'no_proxy')

    assert not holds or f'{option.dest}_file' in siblings


def test_what_must_fit_together_is_never_changed_while_it_is_used() -> None:
    mutable = {f'{group}.{option.dest}' for group, option in OPTIONS if option.mutable}

    assert mutable.isdisjoint(name for rule in RULES for name in rule.options)


def test_the_rules_are_about_options_that_exist() -> None:
    assert {name for rule in RULES for name in rule.options} <= set(IDS)


@every_option
def test_a_default_is_what_its_readers_were_written_for(group: str, option: cfg.Opt, config_file: Path) -> None:
    # A type must not turn a default into something else, as an empty text into None.
    assert conf.load(str(config_file))[group][option.dest] == option.default


def load(path: Path, group: str, line: str) -> conf.Configuration:
    path.write_text(f'[{group}]\n{line}\n')
    return conf.load(str(path))


@pytest.mark.parametrize(
    ('group', 'line', 'value'),
    [
        ('update', 'uri = https://example.com/a.zip', 'https://example.com/a.zip'),
        ('update', 'uri = /media/usb/a.zip', '/media/usb/a.zip'),
        ('update', 'uri = file:///media/a.zip', 'file:///media/a.zip'),
        ('update', 'uri = s3+https://bucket/a.zip', 's3+https://bucket/a.zip'),
        ('update', 'http_proxy =', None),
        ('update', 'https_proxy = http://proxy:3128', 'http://proxy:3128'),
        ('provision', 'kernel_args =', ''),
        ('cluster', 'virtual_ip = 192.0.2.10/24', '192.0.2.10/24'),
        ('cluster', 'virtual_ip = 2001:db8::10', '2001:db8::10'),
        ('cluster', 'address = mn1.example.com', 'mn1.example.com'),
        ('cluster', 'peer_url = http://[2001:db8::1]:6640', 'http://[2001:db8::1]:6640'),
        ('provision', 'mac = mn1:52-54-00-AA-00-01', {'mn1': '52:54:00:aa:00:01'}),
        ('provision', 'site_files = etc/ovca.conf,etc/x/*', ['etc/ovca.conf', 'etc/x/*']),
        ('power', 'bmc = mn1:https://a/redfish,mn2:192.0.2.22', {'mn1': 'https://a/redfish', 'mn2': '192.0.2.22'}),
        ('database', 'connection = postgresql+psycopg://a:b@c/d', 'postgresql+psycopg://a:b@c/d'),
    ],
)
def test_what_is_right_is_taken(tmp_path: Path, group: str, line: str, value: object) -> None:
    loaded = load(tmp_path / 'ovca.conf', group, line)

    assert loaded[group][line.partition(' ')[0]] == value


@pytest.mark.parametrize(
    ('group', 'line', 'said'),
    [
        ('update', 'uri = a.zip', 'it must be a URI such as https://host/path, or the absolute path of a file'),
        ('update', 'uri = https://', 'it must be a URI'),
        ('update', 'http_proxy = proxy:3128', 'it must be a URI such as http://host/path or https://host/path'),
        ('update', 'http_proxy = ftp://proxy', 'it must be a URI such as http'),
        ('update', 'http_proxy = http://proxy:99999', 'its host or port is wrong'),
        ('update', 'ca_file = ca.pem', 'it must be an absolute path, beginning with /'),
        ('update', 'connect_timeout = nan', 'nan is not a number'),
        ('update', 'connect_timeout = inf', 'Should be less than or equal to 600'),
        ('update', 'limit_rate =', 'it is empty; write a whole number from 0 to'),
        ('image', 'shared_storage =', 'it must not be empty'),
        ('cluster', 'node_name = mn 1', "it must be a node's name"),
        ('cluster', 'virtual_ip = 192.0.2.300', 'it must be an IP address'),
        ('cluster', 'virtual_ip = 192.0.2.3/33', 'it must be an IP address'),
        ('cluster', 'address = 192.0.2', 'is not a valid host address; write the IP address or the name of a host'),
        ('cluster', 'virtual_ip_interface = eth0 eth1', 'it must be the name of a network interface'),
        ('cluster', "reboot_command = sh -c 'reboot", 'it must be a command: No closing quotation'),
        ('cluster', 'roles = virtual-ip boot-service', 'it must be the name of an extension'),
        ('cluster', 'port = 0', 'Should be greater than or equal to 1'),
        ('provision', 'mac = mn1:52:54:00', 'it must be the address of a network card'),
        ('provision', 'mac = mn1', 'NAME:VALUE'),
        ('provision', 'site_files = ../etc/passwd', 'below the root'),
        ('provision', 'kernel_args = a\n  b', 'over more than one line'),
        (
            'database',
            'connection = mysql://a/b',
            'its value cannot be used; write sqlite:////path/ovca.sqlite or postgresql',
        ),
    ],
)
def test_what_is_wrong_is_refused_with_what_it_has_to_be(tmp_path: Path, group: str, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / 'ovca.conf', group, line)

    assert f'[{group}] {line.partition(" ")[0]}: ' in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize('line', ['connection = hunter2', 'connection = mysql://a:hunter2@b/c'])
def test_a_secret_is_not_told_when_it_is_wrong(tmp_path: Path, line: str) -> None:
    path = tmp_path / 'ovca.conf'
    with pytest.raises(ConfigError) as in_file:
        load(path, 'database', line)
    path.write_text('')
    with pytest.raises(ConfigError) as in_override:
        conf.load(str(path), ['database.' + line.replace(' = ', '=')])

    assert 'hunter2' not in str(in_file.value) + str(in_override.value)
    assert '[database] connection' in str(in_file.value)
    assert str(in_override.value).startswith('--set database.connection: ')


def test_a_dollar_sign_in_a_secret_does_not_tell_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / 'ovca.conf', 'database', 'connection = postgresql://a:b$hunter2@c/d')

    assert 'hunter2' not in str(caught.value)
    assert 'write $$ for the sign itself' in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[cluster]\nttl = 15\n', 'renew_interval = 10, self_demote = 20 and ttl = 15 must rise'),
        ('[database]\nlock_timeout = 25\n', 'lock_timeout = 25, idle_timeout = 5 and [cluster] ttl = 30 do not fit'),
        ('[database]\nstatement_timeout = 30\n', 'statement_timeout = 30 and [cluster] ttl = 30 do not fit'),
        ('[database]\nconnect_timeout = 40\n', 'connect_timeout = 40 and [cluster] ttl = 30 do not fit'),
        ('[remaster]\nready_age = 300\n', 'ready_age = 300 and unhealthy_limit = 300 must rise'),
        ('[remaster]\nsoak = 7200\n', 'soak = 7200 and verify_deadline = 3600 must rise'),
        ('[remaster]\nprove_soak = 7200\n', 'prove_soak = 7200 and prove_deadline = 1200 must rise'),
        ('[remaster]\ninstall_deadline = 60\n', 'order_interval = 600 and install_deadline = 60 must rise'),
        ('[cluster]\nboot_port = 80\nboot_tls_port = 80\n', 'boot_port = 80 and boot_tls_port = 80 must differ'),
        ('[cluster]\nport = 6641\n', 'each service needs a port of its own'),
        ('[cluster]\nnode_name = a\npeer = a\n', '[cluster] peer = a and node_name = a do not fit'),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused_together(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / 'ovca.conf'
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        conf.load(str(path))

    assert str(caught.value).startswith(f'{path}: [')
    assert said in str(caught.value)


def test_a_port_may_be_used_again_on_another_address(tmp_path: Path) -> None:
    conf = load(tmp_path / 'ovca.conf', 'cluster', 'address = 192.0.2.11\nvirtual_ip = 192.0.2.10/24\nport = 6641')

    assert conf.cluster.port == conf.cluster.boot_port == 6641
