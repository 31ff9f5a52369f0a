"""The image maker: trees that are small, made once, and exactly what was asked for."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ovca
from ovca import conf
from ovca.lab import dependencies, images
from ovca.lab.images import Plugin, Recipe
from ovca.lab.spec import LabError

pytestmark = pytest.mark.extra('lab')


@pytest.fixture
def tree(tmp_path, cache):
    def make(recipe):
        images.make_tree(tmp_path / 'root', recipe, cache)
        return tmp_path / 'root'

    return make


def python(root, code):
    """Run code with nothing but what is in the tree."""
    env = {'PYTHONPATH': str(root / images.TREE), 'PYTHONDONTWRITEBYTECODE': '1', 'PATH': os.environ['PATH']}
    done = subprocess.run([sys.executable, '-S', '-P', '-c', code], env=env, capture_output=True, text=True, cwd='/')
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_tree_has_its_version_everywhere_and_all_that_the_service_needs(tree):
    root = tree(Recipe('1.2.3'))

    out = python(
        root,
        'import ovca, ovca.daemon.service, ovca.cli.app\n'
        'import sushy, alembic.command, rich.live, pycdlib, minisign, uvicorn\n'
        'import importlib.metadata as m; print(ovca.__version__, m.version("ovca"), ovca.__file__)',
    )

    assert out == f'1.2.3 1.2.3 {root / images.TREE / "ovca/__init__.py"}'
    assert (root / 'etc/ovca-release').read_text() == 'ovca 1.2.3\n'
    assert ovca.__version__ in Path(ovca.__file__).read_text()


def test_a_tree_holds_neither_tests_nor_the_lab(tree):
    root = tree(Recipe('1.2.3'))

    names = {str(path.relative_to(root / images.TREE)) for path in (root / images.TREE).rglob('*')}

    assert not [name for name in names if '/tests/' in name]
    assert 'ovca/lab' not in names
    assert 'ovca/cli' in names


def test_running_a_tree_changes_nothing_in_it(tree):
    root = tree(Recipe('1.2.3'))
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}

    python(root, 'import ovca.daemon.service')

    assert {path: path.stat().st_mtime_ns for path in root.rglob('*')} == before


def test_the_dependencies_are_made_once(cache):
    first = dependencies.cached_tree(cache)
    made = first.stat().st_mtime_ns

    assert dependencies.cached_tree(cache) == first
    assert first.stat().st_mtime_ns == made


def test_an_image_may_bring_a_plugin_of_its_own(tree):
    plugin = Plugin(
        'ovca-hello',
        {'hello.py': 'WORD = "hello"\n'},
        {'ovca.health': {'hello': 'hello:WORD'}},
        configuration='[health]\nchecks = hello\n',
    )
    root = tree(Recipe('1.2.3', plugins=(plugin,)))

    code = (
        'import importlib.metadata as m; print([e.load() for e in m.entry_points(group="ovca.health", name="hello")])'
    )

    assert python(root, code) == "['hello']"
    (root / 'etc/ovca.conf').write_text('')
    assert conf.load(str(root / 'etc/ovca.conf')).health.checks == ['hello']


def test_an_image_may_have_files_of_its_own_and_the_cache_does_not_see_them(tree, cache):
    path = f'{images.TREE}/alembic/__init__.pyc'
    root = tree(Recipe('1.2.3', files={f'{images.TREE}/ovca/novelty.py': 'NEW = 42\n', path: 'broken'}))

    assert python(root, 'import ovca.novelty; print(ovca.novelty.NEW)') == '42'
    assert (dependencies.cached_tree(cache) / 'alembic/__init__.pyc').read_bytes() != b'broken'


def test_an_image_is_signed_and_made_whole(tmp_path, cache):
    from ovca.image.build import keygen

    (tmp_path / 'keys').mkdir()
    secret, _ = keygen(tmp_path / 'keys', 'lab')

    output = images.make(
        tmp_path / 'www' / 'x.zip', Recipe('2.0.0', update_from='1.0.0'), secret_key=secret, cache=cache
    )

    with zipfile.ZipFile(output) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read('manifest.json'))
    assert names[:3] == ['manifest.json', 'manifest.json.minisig', 'files.json']
    assert (manifest['version'], manifest['update_from']) == ('2.0.0', '1.0.0')
    assert set(manifest['components']) == {'mgmt', 'hmp', 'ovm'}
    assert [path.name for path in output.parent.iterdir()] == ['x.zip']


def test_the_closure_follows_extras_and_leaves_ovca_out():
    plain = {dependencies.canonical(dist.metadata['Name']) for dist in dependencies.closure(['ovca'])}
    redfish = {dependencies.canonical(dist.metadata['Name']) for dist in dependencies.closure(['ovca[redfish]'])}

    assert redfish - plain >= {'sushy'}
    assert 'ovca' not in plain
    assert 'alembic' in plain


def test_a_requirement_that_is_not_installed_is_named():
    with pytest.raises(LabError, match='no-such-thing is not installed here'):
        dependencies.closure(['no-such-thing'])


@pytest.mark.parametrize(
    ('text', 'need'),
    [
        ('sushy>=5.0; extra == "redfish"', ('sushy', set(), {'redfish'}, False)),
        ("psycopg[binary] (>=3.1) ; extra == 'postgresql'", ('psycopg', {'binary'}, {'postgresql'}, False)),
        ('tomli>=1; python_version < "3.11"', ('tomli', set(), set(), True)),
        ('Zope.Interface_X', ('zope-interface-x', set(), set(), False)),
        ('colorama; (sys_platform == "win32") and extra == "cli"', ('colorama', set(), {'cli'}, True)),
    ],
)
def test_requirements_are_read_as_package_metadata_writes_them(text, need):
    found = dependencies.Need.parse(text)

    assert (found.name, found.extras, found.only_with, found.may_be_absent) == need
