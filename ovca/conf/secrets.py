"""Secrets that lie in files of their own: read in one place, refused when others can read them, never told."""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING, Any

from ovca.conf import groups
from ovca.exceptions import ConfigError

if TYPE_CHECKING:
    from oslo_config import cfg

OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
"""What a secret's file must not allow."""
LARGEST = 64 * 1024
"""Bytes; a larger file is something else."""


def read(path: str, name: str) -> str:
    """Return the one line in a secret's file; ``name`` is the option that names the file, as ``[power] password_file``.

    :raises ConfigError: it cannot be read, is open to others, or holds no single line.
    """
    return _line(content(path, name), path, name)


def content(path: str, name: str) -> bytes:
    """Return what is in a secret's file, which only its owner may read and write.

    No more than a little above :data:`LARGEST` is read.

    :raises ConfigError: it cannot be read, or is open to others.
    """
    try:
        with open(path, 'rb', opener=_open) as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ConfigError(f'{name} {path} cannot be read: it is no file; name one', id='secret-file')
            if problem := openness(path, state.st_mode):
                raise ConfigError(f'{name} {problem}', id='secret-file-open')
            return stream.read(LARGEST + 1)
    except OSError as exc:
        raise ConfigError(f'{name} {path} cannot be read: {exc.strerror}; see to the file', id='secret-file') from exc


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would keep the caller waiting for ever


def openness(path: str, mode: int) -> str | None:
    """Who else can get at a file, and the command that ends it; None when nobody can."""
    if not mode & OTHERS:
        return None
    verb = 'changed' if mode & (stat.S_IWGRP | stat.S_IWOTH) else 'read'
    return f'{path} can be {verb} by others (mode {mode & 0o7777:04o}); run: chmod 600 {shlex.quote(path)}'


def _line(data: bytes, path: str, name: str) -> str:
    problem = None
    try:
        text = data.decode().strip()
    except UnicodeError:
        text, problem = '', 'it is not UTF-8 text'
    if not problem and not text:
        problem = 'it is empty'
    if not problem and (len(data) > LARGEST or not text.isprintable()):
        problem = 'it holds more than one line of text'
    if problem:
        # No cause is kept: it would carry what was read.
        raise ConfigError(
            f'{name} {path} cannot be used: {problem}; write the value into it, and nothing else', id='secret-file'
        ) from None
    return text


def configured(conf: cfg.ConfigOpts, group: str, name: str) -> Any:
    """An option's value: out of the file that ``<name>_file`` names when that is set, or else from the configuration.

    The file is read at each call, so a changed password counts at once.

    :raises ConfigError: the file cannot be used, or what is in it is no value for the option.
    """
    values = getattr(conf, group)
    path = getattr(values, f'{name}_file', None)
    if not path:
        return getattr(values, name)
    where = f'[{group}] {name}_file'
    text = read(path, where)
    option = next(option for option in groups.core()[group] if option.dest == name)
    try:
        return option.type(text)
    except ValueError:
        raise ConfigError(
            f'{where} {path} holds no {option.type.type_name} for {name}; write it anew', id='secret-file'
        ) from None
