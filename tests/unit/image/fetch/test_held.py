"""What of a part is believed: after a kill all of it, after a power loss what was synced."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovca.image import kept as writing
from ovca.image.errors import StorageFailed
from ovca.image.fetch import held
from ovca.image.fetch.held import Part


@pytest.fixture
def reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Start the machine anew; what was not synced may be anything then."""
    boot = tmp_path / 'boot_id'
    boot.write_text('first\n')
    monkeypatch.setattr(held, 'BOOT_ID', boot)
    return lambda: boot.write_text('second\n') and None


Write = Callable[..., Part]


@pytest.fixture
def write(part: Path) -> Iterator[Write]:
    """Write pieces, and leave the part as a kill would: not closed."""
    left: list[Part] = []

    def run(*pieces: bytes, size: int = 10_000) -> Part:
        kept = Part(part, 'source')
        left.append(kept)
        kept.remember('"one"', size)
        for data in pieces:
            kept.append(data)
        kept.flush()
        return kept

    yield run
    for kept in left:
        kept.close()


def test_all_that_was_written_is_there_after_a_kill(write: Write, part: Path) -> None:
    write(b'abc', b'def')

    again = Part(part, 'source')

    assert (again.held, again.validator, again.size) == (6, '"one"', 10_000)
    assert b''.join(again.replay()) == b'abcdef'


def test_after_a_power_loss_only_what_was_synced_counts(write: Write, part: Path, reboot: Callable[[], None]) -> None:
    write(b'abc').close()
    write(b'\0\0\0')  # the length reached the disk, the data did not
    reboot()

    again = Part(part, 'source')

    assert b''.join(again.replay()) == b'abc'
    assert part.stat().st_size == 3


def test_what_a_kill_has_left_is_not_taken_for_synced(write: Write, part: Path, reboot: Callable[[], None]) -> None:
    write(b'abc').close()
    write(b'def')  # killed here
    write(b'ghi')  # and again, after it was taken up
    assert part.read_bytes() == b'abcdefghi'
    reboot()

    assert b''.join(Part(part, 'source').replay()) == b'abc'


def test_a_file_that_is_cut_is_believed_no_further(write: Write, part: Path, reboot: Callable[[], None]) -> None:
    write(b'abcdef').close()
    again = Part(part, 'source')
    again.cut(2)
    again.append(b'ghijkl')
    again.flush()  # and then the power fails
    reboot()

    assert b''.join(Part(part, 'source').replay()) == b'ab'
    again.close()


def test_what_others_keep_is_counted_and_not_written(write: Write, part: Path, reboot: Callable[[], None]) -> None:
    kept = write(b'abc')

    kept.leave()
    kept.append(b'def')

    assert (kept.held, part.read_bytes()) == (6, b'abc')
    reboot()
    assert b''.join(Part(part, 'source').replay()) == b'abc'  # it lasts, as nobody asks for it again


def test_what_was_left_behind_in_order_survives_a_power_loss(
    write: Write, part: Path, reboot: Callable[[], None]
) -> None:
    write(b'abcdef').close()
    reboot()

    assert Part(part, 'source').held == 6


def test_what_another_machine_wrote_counts_as_far_as_it_was_synced(
    write: Write, part: Path, reboot: Callable[[], None]
) -> None:
    write(b'abc')
    reboot()

    assert Part(part, 'source').held == 0


def test_a_machine_that_does_not_name_its_boots_believes_what_was_synced(
    write: Write, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, 'BOOT_ID', Path('/nonexistent'))
    write(b'abc').close()
    write(b'def')

    assert Part(part, 'source').held == 3


@pytest.mark.parametrize(('size', 'seconds'), [(9, 3600.0), (2**40, 0.0)])
def test_much_and_old_data_is_synced_on_the_way(
    write: Write, part: Path, monkeypatch: pytest.MonkeyPatch, reboot: Callable[[], None], size: int, seconds: float
) -> None:
    monkeypatch.setattr(writing, 'SYNCED', size)
    monkeypatch.setattr(writing, 'SYNCED_AFTER', seconds)
    write(b'x' * 9)
    reboot()

    assert Part(part, 'source').held == 9


def test_little_and_new_data_is_not(write: Write, part: Path, reboot: Callable[[], None]) -> None:
    write(b'x' * 9)
    reboot()

    assert Part(part, 'source').held == 0


def test_a_complete_part_is_not_synced_once_more(write: Write, part: Path) -> None:
    kept = write(b'abc')
    kept.complete = True

    kept.close()

    assert json.loads(kept.note.read_text())['synced'] == 0


def test_when_the_disk_loses_what_was_written_the_part_ends_before_it(
    write: Write, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(b'abc').close()

    def fail(descriptor: int) -> None:
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(os, 'fdatasync', fail)
    monkeypatch.setattr(writing, 'SYNCED', 1)
    with pytest.raises(StorageFailed, match='Input/output error'):
        write(b'def')

    assert Part(part, 'source').held == 3


def test_a_disk_that_is_full_costs_nothing_of_what_is_there(write: Write, part: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    kept = write(b'x' * 5000)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        kept.append(b'y' * 5000)
        with pytest.raises(StorageFailed, match='File too large'):
            kept.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    kept.close()

    assert b''.join(Part(part, 'source').replay()) == b'x' * 5000 + b'y' * 3192


@pytest.mark.parametrize(
    'note',
    [
        '',
        'null',
        '[]',
        '{"uri": "another", "validator": "one", "size": 100, "synced": 3}',
        '{"uri": "source", "validator": null, "size": 100, "synced": 3}',
        '{"uri": "source", "validator": "one", "size": 100, "synced": "3"}',
    ],
)
def test_a_note_that_says_nothing_of_this_source_is_no_reason_to_believe(write: Write, part: Path, note: str) -> None:
    write(b'abc').close()
    part.with_name('part.json').write_text(note)

    assert Part(part, 'source').held == 0
    assert part.stat().st_size == 0


def test_a_part_that_is_longer_than_its_source_is_cut(write: Write, part: Path) -> None:
    write(b'abcdef', size=4)

    assert b''.join(Part(part, 'source').replay()) == b'abcd'
