"""Slips of an operator's hand: each is one sentence that names it, and nothing was done."""

from __future__ import annotations

import pytest

from ovca import testing
from tests.operated import Operated
from tests.unit.cli.test_commands import run

URI = 'https://example.com/x.zip'


@pytest.mark.parametrize(
    ('argv', 'code', 'said'),
    [
        (['download', 'https://u:geheim@[::1/x.zip'], 5, 'its host is not written right; write it as https://host/'),
        (['update', 'https://[::1/x.zip', '--yes'], 5, '[bad-uri]'),
        (['download', URI, '--image-version', ''], 4, "--image-version: '' is not a version"),
        (['update', URI, '--yes', '--image-version', 'a b'], 4, '[bad-version]'),
        (['update', URI, '--yes', '--accept', 'clock'], 2, '--accept clock: there is no such check'),
        (['update', URI, '--dry-run', '--no-wait'], 2, 'not allowed with argument --dry-run'),
        (['activate', '1.1.0', '--no-wait', '--dry-run'], 2, 'not allowed with argument --no-wait'),
        (['activate', '1.1.0', '--accept', ''], 2, '[no-check]'),
        (['activate', ''], 2, "image '' is not here"),
        (['update-retry', '--accept', 'clock'], 2, '[no-check]'),
        (['node-reinstall', 'mn2', '--accept', 'clock'], 2, '[no-check]'),
        (['node-replace', 'mn2', '--accept', 'clock'], 2, '[no-check]'),
        (['check', '--accept', 'clock'], 2, '[no-check]'),
        (['check', '--allow-downgrade'], 2, '--allow-downgrade is about an image; name it with --image-version'),
        (['site-show', ''], 2, "nothing was saved of ''"),
        (['config-show', ''], 2, "there is no group ''"),
        (['config-show', '--max-width', '²'], 2, "'²' is not a number of columns"),
        (['image-keygen', '--', 'x', '--no-password'], 2, '--no-password stands behind --'),
        (['backup-show', ''], 2, "there is no backup ''"),
        (['backup-restore', 'x', '--configuration', '--to', ''], 2, 'argument --to: the path is empty'),
        (['event-list', '--kind', 'caf\udce9'], 2, "'caf\\udce9' holds bytes that are no text; write it in UTF-8"),
        (['image-keygen', 'x', '--password-file', '/proc/self/mem'], 3, 'cannot be read: Input/output error; see to'),
        (['--config-file', '', 'config-show'], 3, '--config-file names no file'),
    ],
)
def test_a_slip_is_named_and_nothing_is_done(operated: Operated, argv: list[str], code: int, said: str) -> None:
    operated.started()

    result = testing.run(argv) if argv[0].startswith('-') else run(operated, *argv)

    assert (result.code, result.out) == (code, '')
    assert said in result.err
    assert result.err.count('\n') == 1
    assert 'geheim' not in result.err
    assert operated.requests() == []


def test_a_check_that_an_image_brings_may_be_accepted_before_the_image_is_here(operated: Operated) -> None:
    operated.started()

    result = run(operated, 'update', URI, '--yes', '--no-wait', '--accept', 'image:racks', '--accept', 'backup')

    assert result.code == 0, result.err
    assert operated.requests()[0].args['accept'] == ['image:racks', 'backup']


def test_a_node_that_stands_alone_has_nobody_to_take_over_from(operated: Operated) -> None:
    result = run(operated, '--set', 'cluster.peer=', 'master-claim', '--force', '--known-off', 'mn2')

    assert (result.code, result.out) == (6, '')
    assert result.err == (
        'ovca: there is no second management node to take over from; set [cluster] peer [no-second-node]\n'
    )
