"""Values as they may be shown: no secret, and no password within a URL."""

from __future__ import annotations

import re
from typing import Any

# A password may hold / and @ although it should not, so all up to the last @ of the word is hidden: too much is better.
_PASSWORD = re.compile(r'(?<=//)([^/@:\s]*):\S*@')
_PARAMETER = re.compile(r'(?<=[?&]password=)[^&\s]+')
HIDDEN = '****'


def masked(value: Any, *, secret: bool = False) -> Any:
    """The value without what must not be seen; ``secret`` hides all of it but the parts of a URL that tell nothing."""
    if isinstance(value, dict):
        return {key: masked(item, secret=secret) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, secret=secret) for item in value]
    if value is None or value == '':
        return value
    if not isinstance(value, str):
        return HIDDEN if secret else value
    shown = _PARAMETER.sub(HIDDEN, _PASSWORD.sub(rf'\1:{HIDDEN}@', value))
    if secret and shown == value and not value.startswith('sqlite:'):
        return HIDDEN
    return shown
