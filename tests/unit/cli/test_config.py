from __future__ import annotations

from pathlib import Path

from ovca import testing


def rows(*argv: str, config_file: Path) -> dict[tuple[str, str], tuple[object, str]]:
    result = testing.run([*argv, '-f', 'json'], config_file=config_file)
    assert result.code == 0, result.err
    return {(row['group'], row['option']): (row['value'], row['source']) for row in result.json}


def test_every_option_is_shown_with_where_its_value_comes_from(config_file: Path) -> None:
    config_file.write_text('[cluster]\nttl = 60\n[power]\nbmc = mn1:http://a\n')

    shown = rows('--set', 'image.keep=5', 'config-show', config_file=config_file)

    assert shown['cluster', 'ttl'] == (60.0, str(config_file))
    assert shown['power', 'bmc'] == ({'mn1': 'http://a'}, str(config_file))
    assert shown['image', 'keep'] == (5, '--set')
    assert shown['cluster', 'renew_interval'] == (10.0, 'default')


def test_one_group_can_be_shown(config_file: Path) -> None:
    assert {group for group, _ in rows('config-show', 'update', config_file=config_file)} == {'update'}


def test_a_group_that_is_not_there_is_named(config_file: Path) -> None:
    result = testing.run(['config-show', 'updates'], config_file=config_file)

    assert result.code == 2
    assert result.err.startswith("ovca: there is no group 'updates'; the groups are update, image,")


def test_no_password_is_shown(config_file: Path) -> None:
    config_file.write_text(
        '[database]\nconnection = postgresql://ovca:s3cret@db/ovca\n'
        '[update]\nhttps_proxy = http://me:s3cret@proxy:3128\n'
    )

    result = testing.run(['config-show', '--max-width', '0'], config_file=config_file)

    assert result.code == 0
    assert 's3cret' not in result.out + result.err
    assert 'postgresql://ovca:****@db/ovca' in result.out
    assert 'http://me:****@proxy:3128' in result.out


def test_a_wrong_configuration_is_one_sentence(config_file: Path) -> None:
    config_file.write_text('[cluster]\nttl = soon\n')

    result = testing.run(['config-show'], config_file=config_file)

    assert result.code == 3
    assert result.err == (
        f"ovca: {config_file}: [cluster] ttl: 'soon' is no number; write a number from 1 to 600 [config-value]\n"
    )
