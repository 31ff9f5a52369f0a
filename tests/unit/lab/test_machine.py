"""A machine: power, reset, firmware."""

import http.server
import io
import json
import os
import subprocess
import threading
import zipfile

import pytest
from labkit import log, starts, until

from ovca.lab import machine, processes, spec
from ovca.lab.hardware import PowerSupply

pytestmark = pytest.mark.extra('lab')


@pytest.fixture
def node(lab):
    return lab.nodes[0]


@pytest.fixture
def supply(lab, node):
    return PowerSupply(lab, node)


class BootService:
    """Answers what the test wants; stands where the node's boot cable ends."""

    def __init__(self, address):
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                body = outer.answers.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header('Content-Length', str(len(body or b'')))
                self.end_headers()
                self.wfile.write(body or b'')

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer((address, spec.BOOT_PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def boot(node):
    service = BootService(node.cables)
    yield service
    service.server.shutdown()
    service.server.server_close()


def installer(code: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('__main__.py', code)
    return buffer.getvalue()


def offer(boot, lab, node, code):
    boot.answers[f'/boot/{node.mac}'] = (
        f'#!ovca-process\ninstall http://{lab.virtual_ip}:{spec.BOOT_PORT}/installer.pyz\n'
        f'version=1.1.0\nboot_token=secret\nroot=/somebody/else\n'
        f'tls_url=https://{lab.virtual_ip}:{spec.TLS_PORT}\n'
    ).encode()
    boot.answers['/installer.pyz'] = installer(code)


def test_a_machine_with_a_system_on_its_disk_runs_its_service(node, supply):
    supply.on()

    until(lambda: starts(node))
    pid, boot_id, *_ = starts(node)[0]
    assert node.boot_id.read_text().strip() == boot_id
    assert processes.Process.read(node.service_pid).pid == int(pid)


def test_a_machine_without_a_system_idles(node, supply):
    (node.root / 'etc/ovca/installed.json').unlink()

    supply.on()

    until(lambda: 'no bootable disk' in log(node))
    assert supply.machine() is not None


def test_a_service_that_dies_is_started_again_in_the_same_boot(node, supply):
    supply.on()
    until(lambda: starts(node))

    processes.Process.read(node.service_pid).kill()

    until(lambda: len(starts(node)) == 2)
    assert starts(node)[0][1] == starts(node)[1][1]


def test_cutting_the_power_kills_everything_also_what_left_its_session(node, supply):
    supply.on()
    until(lambda: starts(node))
    everything = [starts(node)[0][0], *starts(node)[0][2:]]

    supply.off()

    assert len(everything) == 3
    assert all(processes.Process.of(int(pid)) is None for pid in everything)
    assert supply.machine() is None


def test_the_reset_button_boots_anew_and_leaves_nothing_of_the_boot_before(node, supply):
    supply.on()
    until(lambda: starts(node))
    before = [starts(node)[0][0], *starts(node)[0][2:]]

    subprocess.run([node.hardware / 'reboot'], check=True, env={})

    until(lambda: len(starts(node)) == 2)
    assert all(processes.Process.of(int(pid)) is None for pid in before)
    assert starts(node)[0][1] != starts(node)[1][1]


def test_the_reset_button_of_a_machine_without_power_says_so(node):
    result = subprocess.run([node.hardware / 'reboot'], capture_output=True, text=True, env={})

    assert result.returncode == 1
    assert 'mn1 has no power' in result.stderr


def test_the_power_button_ends_a_machine_by_itself(node, supply):
    supply.on()
    until(lambda: starts(node))

    supply.press_button()

    until(lambda: supply.machine() is None)
    until(lambda: processes.Process.of(int(starts(node)[0][2])) is None)


def test_no_answer_from_the_network_means_disk(node, supply):
    supply.set_next_boot('network')

    supply.on()

    until(lambda: starts(node))
    assert 'no boot script' in log(node)


def test_an_answer_that_is_no_script_means_disk(node, supply, boot):
    boot.answers[f'/boot/{node.mac}'] = b'<html>gateway</html>'
    supply.set_next_boot('network')

    supply.on()

    until(lambda: starts(node))


def test_the_order_to_boot_locally_means_disk_and_once_is_used_up(node, supply, boot):
    boot.answers[f'/boot/{node.mac}'] = b'#!ovca-process\nlocal\n'
    supply.set_next_boot('network')

    supply.on()
    until(lambda: starts(node))
    subprocess.run([node.hardware / 'reboot'], check=True)
    until(lambda: len(starts(node)) == 2)

    assert boot.asked == [f'/boot/{node.mac}']


def test_a_bmc_that_forgets_once_boots_from_the_network_each_time(node, supply, boot):
    boot.answers[f'/boot/{node.mac}'] = b'#!ovca-process\nlocal\n'
    node.vices.write_text('{"repeat_network_boot": true}')

    supply.on()
    until(lambda: starts(node))
    subprocess.run([node.hardware / 'reboot'], check=True)
    until(lambda: len(starts(node)) == 2)

    assert len(boot.asked) == 2


def test_an_installer_gets_the_order_its_own_disk_and_its_own_cables_and_success_resets(lab, node, supply, boot):
    note = node.folder / 'arguments'
    offer(
        boot,
        lab,
        node,
        f'import os, sys; open({str(note)!r}, "w").write("\\n".join([*sys.argv[1:], os.environ["OVCA_BOOT_TOKEN"]]))',
    )
    supply.set_next_boot('network')

    supply.on()

    until(lambda: starts(node))
    words = note.read_text().splitlines()
    assert words[words.index('--root') + 1] == str(node.root)
    assert '--boot-token' not in words
    assert words[-1] == 'secret'
    assert words[words.index('--tls-url') + 1] == f'https://{node.cables}:{spec.TLS_PORT}'
    assert log(node).count(': boot ') == 2


def test_a_refused_grant_boots_the_disk_without_a_reset(lab, node, supply, boot):
    offer(boot, lab, node, 'raise SystemExit(3)')
    supply.set_next_boot('network')

    supply.on()

    until(lambda: starts(node))
    assert 'the grant was refused' in log(node)
    assert log(node).count(': boot ') == 1


def test_a_failed_installer_leaves_a_machine_that_waits_for_a_reset(lab, node, supply, boot):
    record = node.root / 'etc/ovca/installed.json'
    offer(boot, lab, node, f'import os; os.unlink({str(record)!r}); raise SystemExit(1)')
    supply.set_next_boot('network')

    supply.on()

    until(lambda: 'no bootable disk' in log(node))
    assert 'the installer ended with 1' in log(node)


def test_a_node_sees_nothing_of_the_host(node, supply, monkeypatch):
    monkeypatch.setenv('https_proxy', 'http://proxy.example.com')
    (node.root / 'usr/lib/ovca/ovca/daemon.py').write_text(
        'import json, os, sys, time\n'
        f'json.dump([sys.path, dict(os.environ)], open({str(node.folder / "seen")!r}, "w"))\n'
        'open(' + repr(str(node.folder / 'done')) + ', "w").close()\n'
        'time.sleep(600)\n'
    )

    supply.on()

    until((node.folder / 'done').exists)
    path, env = json.loads((node.folder / 'seen').read_text())
    assert path[0] == str(node.root / 'usr/lib/ovca')
    assert not any('site-packages' in entry for entry in path)
    assert 'https_proxy' not in env


@pytest.mark.parametrize('script', ['', 'local', '#!ovca-process', '#!ovca-process\nexplode\n', '<html>'])
def test_what_is_no_script_is_refused(script):
    with pytest.raises(ValueError):
        machine.parse(script)


def test_a_pid_file_of_a_process_that_ended_names_nobody(tmp_path):
    path = tmp_path / 'pid'
    mine = processes.Process.of(os.getpid())
    mine.write(path)
    assert processes.Process.read(path) == mine

    processes.Process(mine.pid, mine.started + 1).write(path)

    assert processes.Process.read(path) is None
