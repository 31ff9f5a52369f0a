"""Files that are written whole or not at all. Standard library only: the installer uses it too."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any


def is_there(path: str | Path) -> bool:
    """Whether there is a file, or something that cannot be looked at: whoever opens it is told why."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def fsync_dir(folder: Path) -> None:
    """Make what was created, renamed or removed in ``folder`` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(folder: Path) -> None:
    """Make all that was written to the file system of ``folder`` survive a power loss.

    :raises OSError: something could not be written. (``os.sync`` would keep that to itself, and waits for all disks.)
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if library.syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)


def reserve(descriptor: int, size: int) -> None:
    """Take the blocks for ``size`` bytes now: in one piece, and with the error of a full disk before all is written.

    Where the file system cannot do that, nothing happens. (``os.posix_fallocate`` would write zeros there instead.)

    :raises OSError: there is no room.
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if library.fallocate(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(size)):
        code = ctypes.get_errno()
        if code not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise OSError(code, os.strerror(code))


def read_regular(path: Path, limit: int) -> bytes:
    """What is in a file where others may write: of at most ``limit`` bytes, not through a link, and nothing that waits.

    :raises OSError: it cannot be read, is longer, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, 'rb') as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, 'it is no regular file', str(path))
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f'it is longer than {limit} bytes', str(path))
    return data


def drop(path: Path) -> None:
    """Remove a file if it is there. Another thread gives back its blocks, which may take a second for a large one."""
    import contextlib
    import threading

    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            path.unlink()
        finally:
            threading.Thread(target=os.close, args=(descriptor,), name='drop').start()


def file_system(descriptor: int) -> int:
    """The magic number of the file system that a file lies on, as in statfs(2); 0 where nothing names it."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    facts = (ctypes.c_long * 64)()  # longer than struct statfs, which begins with the number
    return 0 if library.fstatfs(descriptor, ctypes.byref(facts)) else int(facts[0])


CANNOT_COPY = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
"""What a kernel or file system says that does not know ``copy_file_range``, or not for these files."""


def copy_range(source: int, offset: int, target: int, length: int) -> None:
    """Append ``length`` bytes of one file to another, by descriptors, without a way through this process.

    The file system may share the blocks, a server may copy on its own side; else the kernel copies.

    :raises OSError: it cannot be read or written, or the source ends before.
    """
    by_file_system = True
    while length:
        copied = 0
        try:
            if by_file_system:
                copied = os.copy_file_range(source, target, length, offset_src=offset)
            else:
                copied = os.sendfile(target, source, offset, length)
        except OSError as exc:
            if not by_file_system or exc.errno not in CANNOT_COPY:
                raise
        if not copied and not by_file_system:
            raise OSError(errno.EIO, 'the source ends before the end of what is copied')
        by_file_system = by_file_system and copied > 0
        offset, length = offset + copied, length - copied


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``: after a crash it holds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, 'wb') as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Like :func:`write_atomic`, for a JSON document."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True).encode() + b'\n', mode)
