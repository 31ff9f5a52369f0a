from __future__ import annotations

from pathlib import Path

import pytest

from ovca import conf
from ovca.conf.reading import values_of
from ovca.conf.reload import Change, compare


def between(folder: Path, before: str, after: str) -> tuple[conf.Configuration, list[Change]]:
    """The configuration before, and what changes with the one after it."""
    path = folder / 'ovca.conf'
    loaded = []
    for text in (before, after):
        path.write_text(text)
        loaded.append(conf.load(str(path)))
    old, new = loaded
    return old, compare(new.options, values_of(old)[0], values_of(new)[0])


def test_what_counts_at_once_is_told_from_what_needs_a_restart(tmp_path: Path) -> None:
    _, changes = between(
        tmp_path,
        '[cluster]\nttl = 30\n[update]\nlimit_rate = 1\n',
        '[cluster]\nttl = 60\n[update]\nlimit_rate = 2\nno_proxy = a,b\n',
    )

    assert {str(c) for c in changes if c.at_once} == {'update.limit_rate: 1 -> 2', 'update.no_proxy: (none) -> a,b'}
    assert [str(c) for c in changes if not c.at_once] == ['cluster.ttl: 30.0 -> 60.0']


def test_another_way_to_write_the_same_is_no_change(tmp_path: Path) -> None:
    _, changes = between(tmp_path, '[update]\nno_proxy = a,b\n', '[update]\n# new\nno_proxy = a, b\nlimit_rate = 0\n')

    assert changes == []


def test_no_secret_is_told(tmp_path: Path) -> None:
    _, changes = between(
        tmp_path,
        '[database]\nconnection = postgresql://a:s3cret@b/c\n[update]\nhttp_proxy = http://a:s3cret@b\n',
        '[database]\nconnection = postgresql://a:0ther@b/c\n[update]\nhttp_proxy = http://a:0ther@b\n',
    )

    assert sorted(map(str, changes)) == [
        'database.connection: postgresql://a:****@b/c -> postgresql://a:****@b/c',
        'update.http_proxy: http://a:****@b -> http://a:****@b',
    ]


@pytest.mark.parametrize(
    ('group', 'name', 'before', 'after'),
    [
        ('update', 'limit_rate', '1', '2'),
        ('update', 'uri', 'https://a/$$x', 'https://b/$$$$y'),
        ('update', 'no_proxy', '', 'a,$$b'),
        ('update', 'http_proxy', 'http://a', ''),
        ('provision', 'kernel_args', 'a=$$b', 'a=$$c'),
    ],
)
def test_what_is_taken_over_is_what_a_fresh_start_would_have(
    tmp_path: Path, group: str, name: str, before: str, after: str
) -> None:
    old, changes = between(tmp_path, f'[{group}]\n{name} = {before}\n', f'[{group}]\n{name} = {after}\n')
    section = old[group]

    old.take(changes)

    assert section[name] == conf.load(str(tmp_path / 'ovca.conf'))[group][name]
