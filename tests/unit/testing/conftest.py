"""Contract tests of drivers that are wrong on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

import ovca
from ovca.testing import write_distribution

Judged = Callable[..., dict[str, set[str]]]


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Install drivers, run their contract tests, and return which tests of each class failed.

    ``judged({group: {name: class}}, drivers, tests)``: the sources of a module ``wrong`` and of a test module. With
    ``right``, a test by name, these are run of the classes ``Test_<name>``, and all of ``Test_good``: wrong drivers may
    fail slowly.
    """

    def judge(
        entries: Mapping[str, Mapping[str, str]],
        drivers: str,
        tests: str,
        right: Mapping[str, str] | None = None,
    ) -> dict[str, set[str]]:
        points = {group: {name: f'wrong:{kind}' for name, kind in names.items()} for group, names in entries.items()}
        write_distribution(tmp_path, 'wrong', points, wrong=drivers)
        head = 'import pytest\nfrom ovca.testing import contracts\nimport wrong\n\n'
        (tmp_path / 'test_wrong.py').write_text(head + tests)
        (tmp_path / 'pytest.ini').write_text('[pytest]\ntimeout = 60\n')
        chosen = [f'test_wrong.py::Test_{name}::{test}' for name, test in (right or {}).items()]
        _pytest(tmp_path, ['test_wrong.py::Test_good', *chosen] if right else ['test_wrong.py'])
        return _failures(tmp_path / 'report.xml')

    return judge


def _pytest(folder: Path, words: list[str]) -> None:
    """In a process of its own: modules that are imported twice in one are not the same."""
    path = os.pathsep.join([str(folder), str(Path(ovca.__file__).parents[1])])
    quiet = ['-q', '-p', 'no:cacheprovider', '-p', 'no:randomly', '--junitxml=report.xml']
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', *quiet, *words],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr


def _failures(report: Path) -> dict[str, set[str]]:
    failed: dict[str, set[str]] = {}
    for case in ElementTree.parse(report).iter('testcase'):
        kind = case.attrib['classname'].rpartition('.')[2]
        assert case.find('skipped') is None, case.attrib
        bad = case.find('failure') is not None or case.find('error') is not None
        failed.setdefault(kind, set()).update({case.attrib['name']} if bad else ())
    return failed
