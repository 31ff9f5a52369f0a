"""The limits of an image are options, and the installer is never stricter than they can be set."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ovca import conf
from ovca.conf.image import OPTS
from ovca.image.limits import WIDEST, Limits

NAMES = [field.name for field in fields(Limits)]


def test_what_is_not_configured_is_as_the_readers_have_it(tmp_path: Path) -> None:
    path = tmp_path / 'ovca.conf'
    path.touch()

    assert Limits.from_conf(conf.load(str(path))) == Limits()


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'unique_case'])
def test_an_option_cannot_be_set_wider_than_the_installer_reads(name: str) -> None:
    option = next(option for option in OPTS if option.dest == name)

    assert option.type.max == getattr(WIDEST, name)
    assert option.type.min <= getattr(Limits(), name) <= option.type.max
