"""How large the parts of an image may be. Standard library only: the installer reads images too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """The limits of ``[image]``, with their defaults."""

    max_files: int = 1_000_000
    """How many files, folders and links an image holds at most."""
    max_ratio: int = 100
    """How many times larger than what was received its content may become."""
    max_depth: int = 64
    """How deep folders are nested at most."""
    max_name: int = 255
    """The most bytes that a name may have."""
    unique_case: bool = False
    """Whether two names in a folder must differ by more than case."""

    @classmethod
    def from_conf(cls, conf: Any) -> Limits:
        """The limits that the operator has set. (The type of ``conf`` is nothing that an installer has.)"""
        image = conf.image
        return cls(image.max_files, image.max_ratio, image.max_depth, image.max_name, image.unique_case)


WIDEST = Limits(max_files=10_000_000, max_ratio=1100, max_depth=500, max_name=255)
"""The largest that the options may be set to. The installer takes these: the master has judged the image by its own."""
