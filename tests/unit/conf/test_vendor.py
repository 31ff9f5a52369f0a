from __future__ import annotations

from pathlib import Path

import pytest

from ovca import conf, testing
from ovca.conf.files import Source
from ovca.exceptions import ConfigError


@pytest.fixture
def vendor(config_file: Path) -> Path:
    """The folder with the image's defaults."""
    folder = config_file.parent / 'ovca' / 'vendor.d'
    folder.mkdir(parents=True)
    return folder


def option(loaded: conf.Configuration, group: str, name: str) -> tuple[object, str]:
    opt = next(opt for opt in loaded.options[group] if opt.dest == name)
    return loaded[group][name], loaded.origin(group, opt)


def test_an_image_brings_defaults(config_file: Path, vendor: Path) -> None:
    (vendor / '10-rack.conf').write_text('[cluster]\nttl = 60\n')

    assert option(conf.load(str(config_file)), 'cluster', 'ttl') == (60, str(vendor / '10-rack.conf'))


def test_the_sites_file_wins_and_among_the_vendors_the_last_by_name(config_file: Path, vendor: Path) -> None:
    (vendor / '20-b.conf').write_text('[cluster]\nttl = 62\nself_demote = 22\n')
    (vendor / '10-a.conf').write_text('[cluster]\nttl = 61\nself_demote = 21\nrenew_interval = 11\n')
    config_file.write_text('[cluster]\nttl = 63\n')

    loaded = conf.load(str(config_file))

    assert option(loaded, 'cluster', 'ttl') == (63, str(config_file))
    assert option(loaded, 'cluster', 'self_demote') == (22, str(vendor / '20-b.conf'))
    assert option(loaded, 'cluster', 'renew_interval') == (11, str(vendor / '10-a.conf'))
    assert option(loaded, 'cluster', 'poll_interval') == (2, 'default')


def test_they_count_where_the_site_has_no_file_of_its_own(
    config_file: Path, vendor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (vendor / 'rack.conf').write_text('[cluster]\nttl = 60\n')
    config_file.unlink()
    monkeypatch.setattr(conf, 'DEFAULT_PATH', str(config_file))
    monkeypatch.delenv(conf.ENVIRONMENT, raising=False)

    assert conf.load().cluster.ttl == 60


def test_only_files_that_are_meant_are_read(config_file: Path, vendor: Path) -> None:
    for name in ('rack.conf.orig', '.rack.conf', 'README'):
        (vendor / name).write_text('nonsense')

    assert conf.load(str(config_file)).sources == [Source(str(config_file), {})]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[cluster]\ntll = 3\n', '[cluster] has no option tll; did you mean ttl?'),
        ('[cluster]\nttl = soon\n', "[cluster] ttl: 'soon' is no number"),
        ('ttl\n', 'line 1'),
    ],
)
def test_a_mistake_in_one_is_named_with_its_file(config_file: Path, vendor: Path, text: str, said: str) -> None:
    (vendor / 'rack.conf').write_text(text)
    config_file.write_text('[cluster]\nnode_name = mn1\n')

    with pytest.raises(ConfigError) as caught:
        conf.load(str(config_file))

    assert str(caught.value).startswith(f'{vendor / "rack.conf"}: ')
    assert said in str(caught.value)


def test_config_show_names_the_file_of_each_value(config_file: Path, vendor: Path) -> None:
    (vendor / 'rack.conf').write_text('[cluster]\nttl = 60\n')
    config_file.write_text('[cluster]\nnode_name = mn1\n')

    result = testing.run(['config-show', 'cluster', '-f', 'json'], config_file=config_file)

    sources = {row['option']: row['source'] for row in result.json}
    assert (sources['ttl'], sources['node_name']) == (str(vendor / 'rack.conf'), str(config_file))
