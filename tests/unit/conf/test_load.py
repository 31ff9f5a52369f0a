from __future__ import annotations

from pathlib import Path

import pytest

from ovca import conf
from ovca.exceptions import ConfigError


def written(folder: Path, text: str) -> str:
    path = folder / 'ovca.conf'
    path.write_text(text)
    return str(path)


def refusal(path: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        conf.load(path, overrides)
    return str(caught.value)


def test_a_named_file_is_read(tmp_path: Path) -> None:
    text = '[cluster]\nttl = 60\n[power]\nbmc = mn1:http://a/b:1,mn2:http://c\n[update]\nno_proxy = a, .b\n'

    loaded = conf.load(written(tmp_path, text))

    assert loaded.cluster.ttl == 60
    assert loaded.power.bmc == {'mn1': 'http://a/b:1', 'mn2': 'http://c'}
    assert loaded.update.no_proxy == ['a', '.b']


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(conf.ENVIRONMENT, written(tmp_path, '[image]\nkeep = 7\n'))

    assert conf.load().image.keep == 7


def test_single_options_are_not_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('OS_IMAGE__KEEP', '7')

    assert conf.load(written(tmp_path, '')).image.keep == 3


def test_no_file_in_a_home_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    for name in ('.ovca/ovca.conf', 'ovca.conf', '.ovca/ovca.conf.d/x.conf'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('[image]\nkeep = 7\n')
    other = tmp_path / 'other.conf'
    other.write_text('')

    assert conf.load(str(other)).image.keep == 3


def test_two_configurations_do_not_know_each_other(tmp_path: Path) -> None:
    first = conf.load(written(tmp_path, ''), ['image.keep=5'])
    second = conf.load(written(tmp_path, ''))

    assert (first.image.keep, second.image.keep) == (5, 3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / 'none.conf')

    assert refusal(path) == f'{path} does not exist; name the right file with --config-file'


def test_an_empty_name_is_not_the_default() -> None:
    assert refusal('') == '--config-file names no file; name one, or leave it out'


def test_a_folder_is_not_mended_by_its_permissions(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)).endswith('cannot be read: Is a directory; name the right file, or mend it')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[clster]\nttl = 3\n', 'there is no group [clster]; did you mean cluster?'),
        ('[cluster]\ntll = 3\n', '[cluster] has no option tll; did you mean ttl?'),
        ('[cluster]\nTTL = 3\n', '[cluster] has no option TTL; did you mean ttl?'),
        ('[cluster]\nxyz = 3\n', '[cluster] has no option xyz; see `ovca config-show` for all of them'),
        ('[cluster]\nttl = soon\n', "[cluster] ttl: 'soon' is no number"),
        ('[cluster]\nport = 70000\n', '[cluster] port: Should be less than or equal to 65535'),
        ('[image]\nrequire_signature = maybe\n', "[image] require_signature: Unexpected boolean value 'maybe'"),
        ('[update]\nuri = http://a/$x\n', 'write $$ for the sign itself'),
        ('ttl = 3\n', 'line 1'),
        ('[cluster]\nttl\n', "line 2 ('ttl')"),
        (
            '[cluster]\nnode_name = a\npeer = a\n',
            '[cluster] peer = a and node_name = a do not fit',
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)

    sentence = refusal(path)

    assert sentence.startswith(path)
    assert said in sentence
    assert 'LocationInfo' not in sentence


@pytest.mark.parametrize(
    ('override', 'said'),
    [
        ('image.keep', 'write it as group.option=value'),
        ('keep=3', 'write it as group.option=value'),
        ('imag.keep=3', 'there is no group [imag]; did you mean image?'),
        ('image.kep=3', '[image] has no option kep; did you mean keep?'),
        ('image.keep=some', "'some' is no whole number; write a whole number from 2"),
        ('image.keep=0', 'Should be greater than or equal to 2'),
    ],
)
def test_a_mistake_in_an_override_is_named(tmp_path: Path, override: str, said: str) -> None:
    sentence = refusal(written(tmp_path, ''), override)

    assert sentence.startswith(f'--set {override.partition("=")[0]}: ')
    assert said in sentence


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    loaded = conf.load(written(tmp_path, '[update]\nno_proxy = a\n'), ['update.no_proxy=b,c', 'image.keep=9'])

    assert (loaded.update.no_proxy, loaded.image.keep) == (['b', 'c'], 9)
