"""The checks of the image."""

from __future__ import annotations

from sqlalchemy import text

from ovca.db import schema
from ovca.db.models import Image, Node
from ovca.remaster.checks import CheckContext, Result
from ovca.remaster.checks.image import ImagePresent

from .conftest import Checked

MIGRATIONS = 'usr/lib/python3/ovca/db/migrations/versions'
HEAD = schema.number(schema.head())


def migrations(revision: int) -> dict[str, str]:
    return {f'{MIGRATIONS}/{number:04}_step.py': '' for number in range(1, revision + 1)}


def test_without_a_version_the_image_is_not_looked_at(checked: Checked) -> None:
    assert [checked.check(id).result for id in ('image', 'version-path')] == ['skipped', 'skipped']


def test_the_way_and_the_files_are_among_the_facts(checked: Checked) -> None:
    checked.image()

    path, image = checked.check('version-path', '1.1.0'), checked.check('image', '1.1.0')

    assert (path.result, path.facts['update_from'], path.facts['running']) == ('passed', '1.0.0', '1.0.0')
    assert (image.result, image.facts['wrong_files'], image.facts['signed_by']) == ('passed', [], 'vendor.pub')


def test_an_image_that_is_too_new_for_what_runs_fails(checked: Checked) -> None:
    checked.image()
    with checked.database.write() as session:
        row = session.get_one(Image, '1.1.0')
        row.manifest = {**row.manifest, 'update_from': '1.0.5'}

    assert checked.check('version-path', '1.1.0').result is Result.FAILED


def test_what_runs_already_is_no_update_of_itself_when_the_other_node_gets_it(checked: Checked) -> None:
    checked.image()
    with checked.database.write() as session:
        session.get_one(Node, 'mn1').running_version = '1.1.0'

    again = checked.check('version-path', '1.1.0', retry=True)

    assert (again.result, again.detail) == ('passed', '1.1.0 runs here, and the other node gets it')


def test_a_damaged_file_fails_with_its_path(checked: Checked) -> None:
    checked.image()
    (path,) = checked.config.shared.rglob('mgmt_image/**/ovca-release')
    path.chmod(0o644)
    path.write_text('ovca 1.1.1\n')

    found = checked.check('image', '1.1.0')

    assert (found.result, found.facts['wrong_files'][0]['problem']) == ('failed', 'differs')


def test_the_schema_fits_this_software_and_the_image(checked: Checked) -> None:
    checked.image(files=migrations(HEAD + 1))

    found = checked.check('schema', '1.1.0')

    assert (found.result, found.facts['image']) == ('passed', f'{HEAD + 1:04}')
    assert checked.check('schema').result is Result.PASSED


def test_an_image_whose_schema_is_two_ahead_fails(checked: Checked) -> None:
    checked.image(files=migrations(HEAD + 2))

    found = checked.check('schema', '1.1.0')

    assert (found.result, f'image 1.1.0 {HEAD + 2:04}' in found.detail) == ('failed', True)


def test_a_schema_that_an_update_has_left_behind_is_warned_of(checked: Checked) -> None:
    with checked.database.write() as session:
        session.execute(text(f"UPDATE alembic_version SET version_num = '{HEAD - 1:04}'"))

    assert checked.check('schema').result is Result.WARNING
    assert checked.check('schema', retry=True).result is Result.PASSED


def test_a_look_at_the_sizes_finds_a_file_that_was_cut(checked: Checked) -> None:
    checked.image()
    context = CheckContext(checked.config.load(), checked.database, '1.1.0')
    assert ImagePresent(context).check().result is Result.PASSED
    (iso,) = checked.config.shared.rglob('*.iso')

    iso.chmod(0o644)
    iso.write_bytes(iso.read_bytes()[:-1])

    found = ImagePresent(context).check()
    assert (found.result, found.facts['wrong_files']) == ('failed', [str(iso.relative_to(checked.config.shared))])


def test_a_look_at_the_sizes_finds_a_manifest_that_was_exchanged(checked: Checked) -> None:
    checked.image()
    with checked.database.write() as session:
        session.get_one(Image, '1.1.0').digest = 'c' * 64

    found = ImagePresent(CheckContext(checked.config.load(), checked.database, '1.1.0')).check()

    assert found.result is Result.FAILED
