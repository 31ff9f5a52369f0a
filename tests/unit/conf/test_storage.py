"""Whether the shared storage is mounted, and when it has to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovca.conf import storage
from ovca.testing.appliance import Config


@pytest.mark.parametrize(
    ('peer', 'single_host', 'option', 'refused'),
    [
        ('mn2', False, None, True),
        ('mn2', True, None, False),
        ('', False, None, False),
        ('mn2', False, False, False),
        ('', True, True, True),
    ],
)
def test_a_folder_of_the_nodes_own_disk_is_refused_where_two_nodes_share_it(
    tmp_path: Path, not_mounted: None, peer: str, single_host: bool, option: bool | None, refused: bool
) -> None:
    config = Config(tmp_path)
    config.set('cluster', peer=peer)
    config.set('database', single_host=single_host)
    if option is not None:
        config.set('image', shared_storage_mounted=option)

    assert (storage.unmounted(config.load()) is not None) == refused


def test_a_mounted_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(tmp_path)
    config.set('image', shared_storage_mounted=True)
    monkeypatch.setattr(storage, 'ROOT', Path('/proc'))  # another file system than any that a test writes to

    assert storage.unmounted(config.load()) is None


def test_a_folder_that_is_not_there_is_told_by_whoever_uses_it(tmp_path: Path, not_mounted: None) -> None:
    config = Config(tmp_path)
    config.set('image', shared_storage_mounted=True, shared_storage=tmp_path / 'none')

    assert storage.unmounted(config.load()) is None
