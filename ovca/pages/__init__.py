"""The pages that explain errors: one file for each id, in the package, so that they are there when the network is not.

``ovca help <id>`` prints one, and the documentation holds all of them.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
_ID = re.compile(r'[a-z0-9]+(-[a-z0-9]+)*')


def ids() -> list[str]:
    """The ids that have a page."""
    return sorted(path.stem for path in FOLDER.glob('*.rst'))


def page(id: str) -> str | None:
    """The page for an error's id, as text that can be read on a terminal; None when there is none."""
    path = FOLDER / f'{id}.rst'
    return path.read_text(encoding='utf-8') if _ID.fullmatch(id) and path.is_file() else None
