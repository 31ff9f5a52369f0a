"""A lab with the real ovca on its nodes' disks: made, started, and looked at."""

import json
import sys

import pytest
from labkit import until
from sqlalchemy import select

from ovca.db.models import Image
from ovca.image import verify_root
from ovca.lab import config, demo, spec
from ovca.lab.cli import main
from ovca.lab.lab import Lab
from ovca.lab.spec import LabError

pytestmark = pytest.mark.extra('lab')


@pytest.fixture(scope='module')
def appliance(tmp_path_factory, stocked):
    folder = tmp_path_factory.mktemp('lab') / 'one'
    lab = Lab.create(folder, overrides={'remaster': {'soak': 1}}, stock=stocked(None))
    try:
        lab.start()
        lab.wait_until_healthy()
        yield lab
    finally:
        lab.stop()


def ovca_lab(lab, *words):
    return main(['--folder', str(lab.folder), *words])


def running(lab):
    return all(status.service == 'running' for status in lab.status())


def test_both_nodes_run_what_the_factory_installed(appliance):
    until(lambda: running(appliance))  # another story may just have stopped one, and its rows say nothing of that yet

    for status in appliance.status():
        assert (status.power, status.service, status.version) == ('on', 'running', '1.0.0')


def test_the_first_version_is_a_published_image_and_the_disks_are_as_it_says(appliance):
    database = appliance.database()
    with database.read() as session:
        image = session.scalars(select(Image)).one()
    database.dispose()

    listing = appliance.spec.shared / 'mgmt_image/1.0.0/files.json'
    for node in appliance.spec.nodes:
        installed = json.loads((node.root / 'etc/ovca/installed.json').read_text())
        assert (installed['version'], installed['digest']) == (image.version, image.digest)
        assert verify_root(node.root, listing) == []


def test_ovca_runs_as_on_a_node(appliance):
    done = appliance.run('mn2', ['config-show', '-f', 'json'], check=True)

    assert 'mn2' in done.stdout


def test_a_node_reaches_everything_by_its_own_cables_only(appliance):
    node = appliance.node('mn1')
    conf = appliance.conf('mn1')

    assert conf.power.bmc['mn2'].startswith(f'http://{node.cables}:')
    assert conf.cluster.peer_url.startswith(f'http://{node.cables}:')
    assert conf.remaster.soak == 1


def test_a_service_that_is_killed_comes_back(appliance, capsys):
    until(lambda: running(appliance))
    before = spec.read_json(appliance.node('mn2').service_pid)

    assert ovca_lab(appliance, 'kill-service', 'mn2') == 0

    until(lambda: spec.read_json(appliance.node('mn2').service_pid) != before and running(appliance))
    appliance.wait_until_healthy()


def test_the_command_line_shows_the_nodes_for_programs(appliance, capsys):
    assert ovca_lab(appliance, 'status', '-f', 'json') == 0

    rows = json.loads(capsys.readouterr().out)
    assert [(row['node'], row['power'], row['cut']) for row in rows] == [('mn1', 'on', []), ('mn2', 'on', [])]


def test_the_command_line_says_what_is_wrong_in_one_sentence(appliance, capsys):
    assert ovca_lab(appliance, 'cut', 'mn1', 'telephone') == 1
    assert ovca_lab(appliance, 'vice', 'mn1', 'drunk') == 1
    assert ovca_lab(appliance, 'run', 'mn7', '--', 'node-list') == 1

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith('ovca-lab: ') for line in lines)


def test_a_command_that_ctrl_c_has_killed_ends_as_in_a_shell(appliance, monkeypatch):
    dies = 'import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)'
    monkeypatch.setattr(Lab, 'command', lambda self, node, argv: ([sys.executable, '-c', dies], {}))

    assert ovca_lab(appliance, 'run', 'mn1', '--', 'node-list') == 130


def test_the_demonstration_is_not_convinced_by_nodes_that_were_not_updated(appliance):
    bundle = appliance.make_image('1.1.0')

    problems = demo.disproof(appliance, bundle, appliance.wait_for_master())

    assert any('its disk holds 1.0.0' in problem for problem in problems)
    assert any('it says that mn1 runs 1.0.0' in problem for problem in problems)


def test_a_folder_that_is_not_empty_is_not_made_a_lab(tmp_path):
    (tmp_path / 'letter').write_text('dear')

    with pytest.raises(LabError, match='not empty'):
        Lab.create(tmp_path)
    with pytest.raises(LabError, match='no lab'):
        demo.clear(tmp_path)
    assert (tmp_path / 'letter').exists()


def test_a_node_without_power_runs_no_commands(tmp_path):
    lab = Lab(spec.new(tmp_path, database='sqlite:////x', version='1'))

    with pytest.raises(LabError, match='mn1 has no power'):
        lab.run('mn1', ['node-list'])


def test_a_node_that_is_not_installed_runs_no_commands(lab):
    found = Lab(lab)
    try:
        found.start(power=False)
        found.power_on('mn1')
        (lab.node('mn1').root / 'etc/ovca/installed.json').unlink()

        with pytest.raises(LabError, match='no installation on mn1 has come to its end'):
            found.run('mn1', ['node-list'])
    finally:
        found.stop()


def test_all_options_of_a_node_are_options_of_ovca(tmp_path):
    import ovca.conf

    lab = spec.new(tmp_path, database='postgresql://u:p$x@127.0.0.1/d', version='1')
    path = tmp_path / 'ovca.conf'
    path.write_text(config.text(config.sections(lab, lab.node('mn1'))))

    conf = ovca.conf.load(str(path))

    assert conf.database.connection == f'postgresql://u:p$x@{lab.node("mn1").cables}:5432/d'


def test_only_its_owner_reads_the_secrets_of_a_lab(appliance):
    secrets = [appliance.folder / 'lab.json']
    for node in appliance.spec.nodes:
        secrets += [node.root / 'etc/ovca.conf', node.root / config.BMC_PASSWORD]

    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_a_lab_that_was_stopped_goes_on_with_the_same_master(appliance):
    master = appliance.wait_until_healthy()

    appliance.stop()
    assert [status.power for status in appliance.status()] == ['off', 'off']
    appliance.start()

    assert appliance.wait_until_healthy() == master


def test_another_machine_has_nothing_of_the_one_before_but_its_place(tmp_path, stocked, capsys):
    before = Lab.create(tmp_path / 'lab', stock=stocked(None))
    try:
        before.start(power=False)
        assert ovca_lab(before, 'new-machine', 'mn2') == 0
        lab = Lab.open(before.folder)
        power = lab.power('mn2').state()
    finally:
        before.stop()

    old, machine = before.node('mn2'), lab.node('mn2')
    said = dict(line.split(' ', 1) for line in capsys.readouterr().out.splitlines())
    assert said == {'mac': machine.mac, 'bmc': lab.bmc_as_seen_from('mn1', 'mn2')}
    assert machine.uuid in said['bmc']
    assert (machine.mac == old.mac, machine.uuid == old.uuid, power.value) == (False, False, 'off')
    assert (machine.name, machine.address, machine.root) == (old.name, old.address, old.root)
    assert [path.name for path in machine.root.iterdir()] == [spec.MARKER]
