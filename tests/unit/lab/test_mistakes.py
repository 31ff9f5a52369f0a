"""What ``ovca-lab`` says to a slip of the hand; no lab is started for it."""

import pytest

from ovca.lab import factory, spec
from ovca.lab.cli import main
from ovca.lab.lab import Lab

pytestmark = pytest.mark.extra('lab')


@pytest.fixture
def lab(tmp_path):
    """A lab that was described, and never built."""
    made = spec.new(tmp_path / 'lab', database='sqlite:////x', version='1.0.0')
    made.folder.mkdir()
    made.save()
    return made


@pytest.mark.parametrize(
    ('words', 'code', 'said'),
    [
        (['start', '--version-on-disk', '2.0'], 1, 'is made already; start it without --version-on-disk'),
        (['start', '--database', ''], 1, 'is made already; start it without --database'),
        (['cut', 'mn9'], 1, 'there is no node mn9; this lab has mn1, mn2'),
        (['vice', 'mn1', 'off_delay'], 1, "'' is no value for off_delay; write seconds, as off_delay=3, or off"),
        (['vice', 'mn1', 'off_delay=-3'], 1, "'-3' is no value for off_delay"),
        (['vice', 'mn1', 'off_delay=inf'], 1, "'inf' is no value for off_delay"),
        (['vice', 'mn1', 'stuck_on=5'], 1, "'5' is no value for stuck_on; write on or off"),
        (['vice', 'mn1', 'slow'], 1, 'a BMC has no vice slow'),
        (['make-image', '../x'], 4, "'../x' is not a version"),
    ],
)
def test_a_slip_is_named_and_nothing_is_done(lab, words, code, said, capsys):
    before = sorted(lab.folder.rglob('*'))

    assert main(['--folder', str(lab.folder), *words]) == code

    told = capsys.readouterr().err
    assert said in told
    assert told.count('\n') == 1
    assert sorted(lab.folder.rglob('*')) == before


@pytest.mark.parametrize('lines', ['0', '-3', 'x', '²'])
def test_a_number_of_lines_is_above_zero(lab, lines, capsys):
    with pytest.raises(SystemExit):
        main(['--folder', str(lab.folder), 'log', 'mn1', '--lines', lines])

    assert f"'{lines}' is no number of lines; write one above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--version-on-disk', 'a b'], "'a b' is not a version"),
        (['--database', 'nonsense'], 'needs a host and a port'),
        (['--database', 'postgresql://host:port/x'], 'needs a host and a port'),
        (['--database', ''], 'needs a host and a port'),
    ],
)
def test_what_makes_no_lab_leaves_nothing(tmp_path, words, said, capsys):
    folder = tmp_path / 'new'

    assert main(['--folder', str(folder), 'start', *words]) in (1, 4)

    assert said in capsys.readouterr().err
    assert not folder.exists()


def test_a_file_is_no_place_for_a_lab(tmp_path, capsys):
    (tmp_path / 'file').write_text('')

    assert main(['--folder', str(tmp_path / 'file'), 'start']) == 1

    assert 'Not a directory; choose another folder' in capsys.readouterr().err


def test_a_lab_that_was_half_made_is_not_started(tmp_path, monkeypatch, capsys):
    def fails(*args, **kwargs):
        raise spec.LabError('no room')

    monkeypatch.setattr(factory, 'make_keys', fails)
    with pytest.raises(spec.LabError):
        Lab.create(tmp_path / 'new')

    assert main(['--folder', str(tmp_path / 'new'), 'start']) == 1

    assert 'is not empty; choose another folder, or remove it' in capsys.readouterr().err
