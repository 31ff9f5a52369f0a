"""The lines that were typed into the shell, kept for the next session; lines with secrets are not kept."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ovca import files

LIMIT = 1000
"""Lines that are kept."""
_SECRET = re.compile(
    r'://[^/\s]*@'  # a user, and most likely a password, within a URI
    r'|://\S*\?'  # what stands in a query may be a signature or a token
    r'|--set\b'  # a whole configuration may follow
    r'|pass(word|wd|phrase)|secret[^-]|token|credential|api.?key',
    re.IGNORECASE,
)


def confidential(line: str) -> bool:
    """Whether a line may hold a secret; rather once too often."""
    return bool(_SECRET.search(line))


def default_path() -> Path:
    """``$XDG_STATE_HOME/ovca/history``, by default below ``~/.local/state``; in a home of one's own only.

    With ``sudo`` the home may be somebody else's, who could have laid links there.
    """
    state = Path(os.environ.get('XDG_STATE_HOME', ''))
    try:
        home = state if state.is_absolute() else Path.home()
    except RuntimeError:  # the user has none
        return Path(os.devnull)
    below = home if home == state else home / '.local' / 'state'
    return below / 'ovca' / 'history' if _is_own(home) else Path(os.devnull)


def _is_own(folder: Path) -> bool:
    """Whether a folder, or the nearest above it that exists, belongs to the user."""
    for path in (folder, *folder.parents):
        try:
            return path.lstat().st_uid == os.geteuid()
        except FileNotFoundError:
            continue
        except OSError:
            break
    return False


class History:
    """A file of lines, for its owner's eyes only. It is a comfort: when it cannot be kept, the shell works without."""

    def __init__(self, path: Path | None = None, limit: int = LIMIT) -> None:
        self.path, self.limit = path or default_path(), limit

    def lines(self) -> list[str]:
        """What earlier sessions left, the newest last; the file is cut to its limit."""
        try:
            with os.fdopen(self._open(os.O_RDONLY), encoding='utf-8', errors='replace') as stream:
                found = [line for line in stream.read().split('\n') if line and '\0' not in line]
            kept = found[-self.limit :]
            if len(kept) < len(found):
                files.write_atomic(self.path, ''.join(f'{line}\n' for line in kept).encode(), 0o600)
        except OSError:
            return []
        return kept

    def keep(self, line: str) -> bool:
        """Append a line at once, so that it is there after a crash too; return whether it may be remembered."""
        if not line.strip() or confidential(line):
            return False
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(self._open(os.O_WRONLY | os.O_APPEND | os.O_CREAT), 'ab') as stream:
                stream.write(line.encode('utf-8', 'replace') + b'\n')
        except OSError:
            pass
        return True

    def _open(self, flags: int) -> int:
        """Open the file if it is the user's own.

        :raises OSError: it is not, or cannot be opened.
        """
        descriptor = os.open(self.path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
            os.close(descriptor)
            raise PermissionError(f'{self.path} is not a file of this user')
        if stat.S_IMODE(facts.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        return descriptor
