from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovca.cli import output
from ovca.db.models import Image, Node
from ovca.image import Manifest, Store, receive
from ovca.image.build import build, keygen
from ovca.image.pipeline import PublishedImage
from tests.operated import NEW, OLD, Operated
from tests.unit.cli.test_commands import asked, run
from tests.unit.cli.test_lock import clerk


@pytest.fixture
def published(operated: Operated, tmp_path: Path) -> Store:
    """The appliance runs, and image 1.1.0 is whole on its shared storage and in its table."""
    operated.started()
    tree = tmp_path / 'tree'
    for number in range(30):
        (tree / f'd{number}').mkdir(parents=True)
        (tree / f'd{number}/file').write_text(f'{number}' * 1000)
    installer, bundle = tmp_path / 'installer.pyz', tmp_path / 'x.zip'
    installer.write_bytes(b'an installer')
    secret = keygen(tmp_path / 'keys', 'vendor')[0]
    build(bundle, version='1.1.0', mgmt=tree, hmp=tree, installer=installer, secret_key=secret)
    operated.configure('mn1', f'key_folder = {tmp_path / "keys"}\n')
    conf = operated.service().conf
    store = Store.from_conf(conf)

    def accept(manifest: Manifest) -> None:
        assert manifest.version == '1.1.0'

    def commit(image: PublishedImage) -> None:
        operated.image(image.version, image.digest)

    receive(
        str(bundle), store=store, conf=conf, progress=lambda p: None, cancelled=lambda: False, accept=accept,
        commit=commit,
    )  # fmt: skip
    return store


@pytest.mark.parametrize('here', ['mn1', 'mn2'])
@pytest.mark.usefixtures('published')
def test_a_whole_image_passes_on_both_nodes(operated: Operated, here: str) -> None:
    operated.configure(here)

    result = run(operated, 'image-verify', '1.1.0', '-f', 'json')

    assert result.code == 0, result.err
    assert (result.json['version'], result.json['result'], result.json['differing']) == ('1.1.0', 'passed', [])
    assert result.json['files'] > 60
    assert result.err.splitlines()[0].startswith('verify: ')
    assert 'verify: 100 %' in result.err.splitlines()[-1]


@pytest.mark.parametrize('formatter', ['json', 'yaml', 'value', 'table'])
def test_a_damaged_image_fails_with_status_4_and_the_first_file(
    operated: Operated, published: Store, formatter: str
) -> None:
    (published.tree('1.1.0') / 'd7/file').write_text('?')
    (published.tree('1.1.0') / 'more').touch()

    result = run(operated, 'image-verify', '1.1.0', '-f', formatter)

    assert result.code == 4
    assert result.err.splitlines()[-1] == (
        'ovca: image 1.1.0 is not as it was published: 2 files are wrong, the first is '
        'mgmt_image/1.1.0/tree/d7/file (differs); do not install it, look at the storage [image-differs]'
    )
    assert 'mgmt_image/1.1.0/tree/more' in result.out


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ('name', 'id'), [('manifest.json', 'unreadable'), ('files.json', 'unreadable'), ('', 'differs')]
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(
    operated: Operated, published: Store, name: str, id: str
) -> None:
    path = published.mgmt('1.1.0') / name if name else published.iso_path('1.1.0')
    path.unlink()
    os.mkfifo(path)

    result = run(operated, 'image-verify', '1.1.0')

    assert result.code == 4
    assert result.err.endswith(f'[image-{id}]\n')


def test_a_table_of_many_differences_is_short_and_json_has_all(operated: Operated, published: Store) -> None:
    for number in range(25):
        (published.tree('1.1.0') / f'd{number}/file').unlink()

    table = run(operated, 'image-verify', '1.1.0')
    data = run(operated, 'image-verify', '1.1.0', '-f', 'json')

    assert 'and 5 more' in table.out
    assert [d['problem'] for d in data.json['differing']] == ['missing'] * 25


def test_an_image_that_is_not_published_is_named_with_those_that_are(operated: Operated) -> None:
    operated.started().image()

    for command in (['image-verify', '9.9'], ['image-delete', '9.9', '--yes'], ['image-show', '9.9']):
        result = run(operated, *command)

        assert result.code == 2
        assert "image '9.9' is not here; fetch it with `ovca download`. Published are: 1.1.0" in result.err


def test_what_will_go_is_told_before_the_question(operated: Operated, published: Store) -> None:
    result = asked(operated, 'n', 'image-delete', '1.1.0')

    assert (result.code, result.out) == (6, '')
    lines = result.err.splitlines()
    folder, size = next(iter(published.folders('1.1.0').items()))
    assert lines[0] == f'{folder} will be deleted: {output.size(size)}'
    assert lines[1].startswith(f'{published.folder("hmp", "1.1.0")} will be deleted: ')
    assert lines[2].startswith('Delete image 1.1.0, ')
    assert operated.requests() == []


@pytest.mark.usefixtures('published')
def test_a_yes_asks_the_master_for_it(operated: Operated) -> None:
    operated.answer(lambda request: {})

    result = asked(operated, 'y', 'image-delete', '1.1.0', '1.1.0')

    assert (result.code, result.out) == (0, 'image 1.1.0: deleted\n'), result.err
    assert [(r.kind, r.args) for r in operated.requests()] == [('image-delete', {'versions': ['1.1.0']})]


@pytest.fixture
def unknown(operated: Operated, published: Store) -> Store:
    """The database does not know image 1.1.0 any more."""
    with operated.database.write() as session:
        session.delete(session.get_one(Image, '1.1.0'))
    return published


def test_an_unknown_image_is_taken_up_with_progress_and_once(operated: Operated, unknown: Store) -> None:
    before = run(operated, 'check', 'unknown-images', '-f', 'json')

    with clerk(operated):
        result = run(operated, 'image-adopt', '1.1.0')
        again = run(operated, 'image-adopt', '1.1.0', '1.1.0')

    assert (result.code, result.out) == (0, 'image 1.1.0: taken up; `ovca activate 1.1.0` installs it\n'), result.err
    assert 'verify' in result.err
    told = 'image 1.1.0 is known to the database already; there is nothing to do\n'
    assert (again.code, again.out, again.err) == (0, told, '')
    assert [row['version'] for row in run(operated, 'image-list', '-f', 'json').json] == ['1.1.0']
    assert before.json[0]['result'] == 'warning'
    assert '`ovca image-adopt 1.1.0` takes it up' in before.json[0]['remedy']
    assert run(operated, 'check', 'unknown-images', '-f', 'json').json[0]['result'] == 'passed'
    assert run(operated, 'image-verify', '1.1.0').code == 0


@pytest.mark.usefixtures('unknown')
def test_what_is_taken_up_is_asked_for_one_by_one_what_runs_first_and_the_newest_last(operated: Operated) -> None:
    with operated.database.write() as session:
        session.get_one(Node, 'mn2').running_version = '1.9.0'
    for version in ('1.9.0', '1.10.0', '1.0.9'):
        (operated.folder / 'shared/mgmt_image' / version).mkdir()
    operated.answer(lambda request: {})

    result = run(operated, 'image-adopt', '1.0.9', '1.10.0', '1.1.0', '1.9.0', '1.10.0', '--allow-downgrade')

    assert result.code == 0, result.err
    assert [(r.kind, r.args['version'], r.args['allow_downgrade']) for r in operated.requests()] == [
        ('image-adopt', version, True) for version in ('1.9.0', '1.0.9', '1.1.0', '1.10.0')
    ]


def test_a_damaged_unknown_image_is_refused_with_its_first_file(operated: Operated, unknown: Store) -> None:
    (unknown.tree('1.1.0') / 'd7/file').write_text('?')

    with clerk(operated):
        result = run(operated, 'image-adopt', '1.1.0')

    assert (result.code, result.out) == (4, '')
    assert result.err.splitlines()[-1] == (
        f'ovca: {unknown.mgmt("1.1.0")}: 1 file is wrong: mgmt_image/1.1.0/tree/d7/file (differs); image 1.1.0 is not '
        f'taken up. Delete it with `ovca image-delete 1.1.0`, and download it again [image-differs]'
    )


def test_what_lies_nowhere_is_named_before_anything_is_asked_for(operated: Operated, unknown: Store) -> None:
    result = run(operated, 'image-adopt', '1.1.0', '9.9')
    odd = run(operated, 'image-adopt', '../9')

    assert (result.code, odd.code) == (2, 4)
    assert f"image '9.9' is not here: the database does not know it, and there is no folder {unknown.mgmt('9.9')}" in (
        result.err
    )
    assert odd.err.endswith('[bad-version]\n')
    assert operated.requests() == []


@pytest.mark.usefixtures('unknown')
@pytest.mark.parametrize('command', ['image-show', 'image-verify', 'activate'])
def test_who_names_an_unknown_image_is_told_what_takes_it_up(operated: Operated, command: str) -> None:
    result = run(operated, command, '1.1.0')

    assert result.code == 2
    assert result.err == (
        "ovca: image '1.1.0' lies on the shared storage, and the database does not know it; `ovca image-adopt 1.1.0` "
        'takes it up. Published are: none [no-image]\n'
    )


@pytest.mark.usefixtures('unknown')
def test_the_standby_takes_nothing_up(operated: Operated) -> None:
    operated.configure('mn2')

    result = run(operated, 'image-adopt', '1.1.0')

    assert result.code == 7
    assert 'run the command on mn1' in result.err


def test_an_unknown_image_is_deleted_after_a_question_as_well(operated: Operated, unknown: Store) -> None:
    with clerk(operated):
        result = asked(operated, 'y', 'image-delete', '1.1.0')

    assert (result.code, result.out) == (0, 'image 1.1.0: deleted\n'), result.err
    assert f'{unknown.mgmt("1.1.0")} will be deleted: ' in result.err
    assert unknown.versions() == []


def test_without_a_terminal_nothing_is_deleted(operated: Operated) -> None:
    operated.started().image()

    result = run(operated, 'image-delete', '1.1.0')

    assert result.code == 6
    assert '[no-terminal]' in result.err
    assert operated.requests() == []


def test_an_image_that_is_needed_is_refused_before_the_question(operated: Operated) -> None:
    operated.started().image('1.0.0', OLD).image('1.1.0', NEW)

    result = asked(operated, 'y', 'image-delete', '1.1.0', '1.0.0')

    assert (result.code, result.out) == (6, '')
    assert result.err == (
        'ovca: image 1.0.0 stays: mn1 and mn2 run it; update them to another image first; nothing was deleted '
        '[image-kept]\n'
    )
    assert operated.requests() == []


def test_the_standby_deletes_nothing(operated: Operated) -> None:
    operated.started().image()
    operated.configure('mn2')

    result = run(operated, 'image-delete', '1.1.0', '--yes')

    assert result.code == 7
    assert 'run the command on mn1' in result.err


@pytest.mark.parametrize('command', ['image-list', 'node-list', 'update-list', 'event-list'])
def test_what_is_empty_is_an_empty_list(operated: Operated, command: str) -> None:
    result = run(operated, command, '-f', 'json')

    assert (result.code, result.json, result.err) == (0, [], '')


def test_check_refuses_an_image_whose_key_was_revoked_meanwhile(operated: Operated, published: Store) -> None:
    keys = Path(operated.service().conf.image.key_folder)
    (keys / 'revoked').write_text(f'{(keys / "vendor.pub").read_text().splitlines()[1]} # stolen\n')

    result = run(operated, 'check', '--image-version', '1.1.0', '-f', 'json')

    found = {row['id']: row for row in result.json}['image']
    assert (found['result'], found['detail']) == ('failed', 'image 1.1.0 is signed by a key that is revoked (stolen)')
    assert '`ovca image-delete 1.1.0`' in found['remedy']


def test_check_finds_a_damaged_image_before_an_update_does(operated: Operated, published: Store) -> None:
    whole = run(operated, 'check', '--image-version', '1.1.0', '-f', 'json')
    (published.tree('1.1.0') / 'd7/file').write_text('?')

    damaged = run(operated, 'check', '--image-version', '1.1.0', '-f', 'json')

    before, after = ({row['id']: row for row in result.json}['image'] for result in (whole, damaged))
    assert (before['result'], after['result']) == ('passed', 'failed')
    assert 'mgmt_image/1.1.0/tree/d7/file (differs)' in after['detail']
    assert '`ovca image-delete 1.1.0` and `ovca download`' in after['remedy']


def test_the_list_says_why_an_image_stays(operated: Operated) -> None:
    operated.started().image('1.0.0', OLD).image('1.1.0', NEW)

    rows = {row['version']: row for row in run(operated, 'image-list', '-f', 'json').json}
    shown = run(operated, 'image-show', '1.0.0', '-f', 'json').json

    reason = 'mn1 and mn2 run it; update them to another image first'
    assert (rows['1.0.0']['kept_because'], rows['1.1.0']['kept_because']) == (reason, None)
    assert shown['kept_because'] == reason
    assert 'kept_because' not in run(operated, 'image-list').out
