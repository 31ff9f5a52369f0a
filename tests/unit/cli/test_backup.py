from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from ovca import testing
from ovca.backup.shelf import Shelf
from ovca.db.engine import Database
from ovca.db.models import Node
from ovca.testing import contracts
from tests.operated import Operated
from tests.unit.cli.test_commands import asked, run


@pytest.fixture
def backup(operated: Operated) -> str:
    """A backup of an appliance; its id."""
    operated.started().image()
    made = run(operated, 'backup-create', '--why', 'a test', '-f', 'json')
    assert made.code == 0, made.err
    return str(made.json['id'])


def emptied(operated: Operated) -> None:
    """The appliance has a new database."""
    operated.url = f'sqlite:///{operated.folder / "new.sqlite"}'
    operated.configure('mn1')


def damage(operated: Operated, id: str) -> None:
    path = operated.folder / 'shared/backup' / id / 'backup.zip'
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)


def test_a_backup_is_made_listed_shown_and_verified_on_both_nodes(operated: Operated, backup: str) -> None:
    operated.configure('mn2')

    listed = run(operated, 'backup-list', '-f', 'json').json
    shown = run(operated, 'backup-show', backup, '-f', 'json').json
    verified = run(operated, 'backup-verify', backup, '-f', 'json')

    assert [(row['id'], row['node'], row['why'], row['problem']) for row in listed] == [(backup, 'mn1', 'a test', '')]
    assert shown['revision'] == listed[0]['revision']
    assert {'name', 'size', 'sha256', 'rows'} == set(shown['contents'][0])
    assert (verified.code, verified.json['result'], verified.json['problems']) == (0, 'passed', [])


def test_a_table_for_people_leaves_out_what_is_alike(operated: Operated, backup: str) -> None:
    good = run(operated, 'backup-list').out
    (operated.folder / 'shared/backup' / backup / 'backup.zip').unlink()
    bad = run(operated, 'backup-list').out

    assert 'problem' not in good and 'engine' not in good
    assert 'problem' in bad and 'backup.zip' in bad


def test_no_password_is_shown(operated: Operated, tmp_path: Path) -> None:
    operated.started().configure('mn1', '[update]\nuri = https://otto:geheim@example.com/x.zip\n')

    texts = [run(operated, 'backup-create').out]
    id = run(operated, 'backup-list', '-f', 'value', '-c', 'id').out.strip()
    texts += [run(operated, command, id, '-f', 'json').out for command in ('backup-show', 'backup-verify')]
    operated.silent(60)
    texts += [run(operated, 'backup-restore', id, '--replace', '--yes', '-f', 'json').out]
    texts += [run(operated, 'backup-restore', id, '--configuration', '--to', str(tmp_path / 'x')).out]

    assert all(texts)
    assert 'geheim' not in ''.join(texts)


@pytest.mark.parametrize('formatter', ['json', 'yaml', 'value', 'table', 'csv'])
def test_what_is_damaged_is_shown_in_each_format_with_status_12(
    operated: Operated, backup: str, formatter: str
) -> None:
    damage(operated, backup)

    result = run(operated, 'backup-verify', backup, '-f', formatter)

    assert result.code == 12
    assert 'failed' in result.out
    assert result.err.endswith('[backup-damaged]\n')


def test_an_emptied_appliance_gets_back_what_it_knew(operated: Operated, backup: str) -> None:
    emptied(operated)

    result = run(operated, 'backup-restore', backup, '--yes', '-f', 'json')

    assert result.code == 0, result.err
    facts = result.json
    assert (facts['id'], facts['epoch'], facts['missing_images']) == (backup, 4, ['1.1.0'])
    assert any(told.startswith('configuration: 1 file') for told in facts['left_out'])
    assert 'which is empty' in result.err
    assert [row['name'] for row in run(operated, 'node-list', '-f', 'json').json] == ['mn1', 'mn2']
    assert [row['version'] for row in run(operated, 'image-list', '-f', 'json').json] == ['1.1.0']
    told = run(operated, 'event-list', '--kind', 'database', '-f', 'json').json[-1]
    assert told['detail'].startswith(f'{told["actor"]} put the database back from backup {backup}, made on mn1')


def test_images_that_were_fetched_after_the_backup_are_told_with_what_takes_them_up(
    operated: Operated, backup: str
) -> None:
    for version in ('1.2.0', '1.3.0'):
        (operated.folder / 'shared/mgmt_image' / version).mkdir(parents=True)
    emptied(operated)

    result = run(operated, 'backup-restore', backup, '--yes', '-f', 'json')

    assert result.code == 0, result.err
    assert (result.json['unknown_images'], result.json['images_problem']) == (['1.2.0', '1.3.0'], '')
    assert result.err.splitlines()[-1] == (
        'images 1.2.0, 1.3.0 lie on the shared storage, and the database does not know them; `ovca image-adopt 1.2.0 '
        '1.3.0` takes them up, `ovca image-delete 1.2.0 1.3.0` removes them, once ovca.service runs'
    )


def test_without_a_terminal_nothing_is_put_back(operated: Operated, backup: str) -> None:
    emptied(operated)

    result = run(operated, 'backup-restore', backup)

    assert result.code == 6
    assert result.err.endswith('[no-terminal]\n')
    assert not (operated.folder / 'new.sqlite').exists()


def test_what_would_be_lost_is_told_and_the_id_has_to_be_typed(operated: Operated, backup: str) -> None:
    operated.silent(60)
    with operated.database.write() as session:
        session.add(Node(name='new'))

    refused = run(operated, 'backup-restore', backup, '--yes')
    mistyped = asked(operated, 'yes', 'backup-restore', backup, '--replace')
    nodes = [row['name'] for row in run(operated, 'node-list', '-f', 'json').json]
    typed = asked(operated, backup, 'backup-restore', backup, '--replace')

    assert (refused.code, mistyped.code, typed.code) == (6, 6, 0), typed.err
    assert refused.err.endswith('[database-not-empty]\n')
    assert mistyped.err.endswith('[declined]\n')
    assert nodes == ['mn1', 'mn2', 'new']
    assert 'all that is there is lost (rows: ' in mistyped.err
    assert 'node 3' in mistyped.err
    assert f'Type {backup} to go on: ' in mistyped.err
    assert [row['name'] for row in run(operated, 'node-list', '-f', 'json').json] == ['mn1', 'mn2']


def test_while_the_service_runs_nothing_is_put_back(operated: Operated, backup: str) -> None:
    result = run(operated, 'backup-restore', backup, '--replace', '--yes')

    assert result.code == 6
    assert result.err.endswith('[service-running]\n')


def test_a_copy_elsewhere_is_named_by_its_path(operated: Operated, backup: str, tmp_path: Path) -> None:
    copy = tmp_path / 'usb/stick'
    copy.parent.mkdir()
    (operated.folder / 'shared/backup' / backup).rename(copy)
    emptied(operated)

    result = run(operated, 'backup-restore', str(copy), '--yes')

    assert result.code == 0, result.err
    database = Database(operated.url)
    with database.read() as session:
        assert len(session.scalars(select(Node)).all()) == 2
    database.dispose()


def test_files_are_put_back_to_a_named_place_only(operated: Operated, backup: str, tmp_path: Path) -> None:
    before = operated.config_file.read_text()
    operated.config_file.write_text(f'{before}# changed\n')

    alone = run(operated, 'backup-restore', backup, '--configuration')
    both = run(operated, 'backup-restore', backup, '--configuration', '--to', str(tmp_path / 'x'), '--replace')
    done = run(operated, 'backup-restore', backup, '--configuration', '--to', str(tmp_path / 'x'), '-f', 'json')

    assert (alone.code, both.code, done.code) == (2, 2, 0)
    assert alone.err.endswith('[restore-options]\n')
    (written,) = done.json['files']
    assert Path(written).read_text() == before
    assert operated.config_file.read_text() != before


SOURCE = """
from pathlib import Path
from ovca.backup.base import BackupSource, SourceFailed

PLAN = Path({plan!r})

class Rack(BackupSource):
    api = 1
    def save(self, folder):
        (folder / 'plan').write_text(PLAN.read_text())
    def restore(self, folder):
        if PLAN.exists() and PLAN.read_text() == 'locked':
            raise SourceFailed('the rack is locked; open it')
        PLAN.write_text((folder / 'plan').read_text())
"""


def test_what_a_source_has_saved_is_put_back_and_one_that_fails_is_named(
    operated: Operated, install: object, tmp_path: Path
) -> None:
    plan = tmp_path / 'plan'
    plan.write_text('mn1 on top')
    install('vendor', {'ovca.backup': {'rack': 'rackmod:Rack'}}, rackmod=SOURCE.format(plan=str(plan)))  # type: ignore[operator]
    operated.started().configure('mn1', '[backup]\nsources = rack\n')
    id = run(operated, 'backup-create', '-f', 'json').json['id']
    operated.silent(60)

    plan.write_text('mn2 on top')
    good = run(operated, 'backup-restore', id, '--replace', '--yes', '-f', 'json')
    after = plan.read_text()
    plan.write_text('locked')
    bad = run(operated, 'backup-restore', id, '--replace', '--yes', '-f', 'json')
    operated.configure('mn1')
    unnamed = run(operated, 'backup-restore', id, '--replace', '--yes', '-f', 'json')

    assert (good.code, good.json['sources'], after) == (0, {'rack': 'put back'}, 'mn1 on top')
    assert (bad.code, bad.json['sources']) == (12, {'rack': 'the rack is locked; open it'})
    assert bad.err.endswith('[backup-source-failed]\n')
    assert 'it is not among [backup] sources' in unnamed.json['sources']['rack']


def test_deleted_backups_are_gone_and_others_stay(operated: Operated, backup: str) -> None:
    other = run(operated, 'backup-create', '-f', 'json').json['id']

    unknown = run(operated, 'backup-delete', backup, 'none', '--yes')
    no = asked(operated, 'n', 'backup-delete', backup)
    yes = asked(operated, 'y', 'backup-delete', backup)

    assert (unknown.code, no.code, yes.code) == (2, 6, 0)
    assert [each.id for each in Shelf(operated.folder / 'shared/backup').backups()] == [other]


def test_tab_offers_the_backups(operated: Operated, backup: str) -> None:
    from ovca.cli import backup as commands

    assert list(commands._ids(operated.service())) == [backup]


def test_reading_backups_needs_no_database(operated: Operated, backup: str) -> None:
    operated.configure('mn1', '')
    text = operated.config_file.read_text().replace(operated.url, 'postgresql://ovca@127.0.0.1:9/ovca')
    operated.config_file.write_text(text)

    for words in (['backup-list'], ['backup-show', backup], ['backup-verify', backup]):
        result = testing.run([*words, '-f', 'json'], config_file=operated.config_file)
        assert result.code == 0, result.err
        assert json.loads(result.out)


class TestBackupVerify(contracts.TableContract):
    name = 'backup-verify'

    @pytest.fixture(autouse=True)
    def _backup(self, operated: Operated, backup: str) -> None:
        self.operated, self.arguments = operated, (backup,)

    def config_file(self) -> Path:
        return self.operated.config_file


class TestBackupShow(TestBackupVerify):
    name = 'backup-show'


class TestBackupList(TestBackupVerify):
    name = 'backup-list'

    def make_arguments(self) -> tuple[str, ...]:
        return ()


class TestBackupRestore(TestBackupVerify):
    name = 'backup-restore'

    def make_arguments(self) -> tuple[str, ...]:
        self.operated.silent(60)
        return (*self.arguments, '--replace', '--yes')


class TestBackupCreate(contracts.TableContract):
    name = 'backup-create'

    @pytest.fixture(autouse=True)
    def _appliance(self, operated: Operated) -> None:
        self.operated = operated.started()

    def config_file(self) -> Path:
        return self.operated.config_file
