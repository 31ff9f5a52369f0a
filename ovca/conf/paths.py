"""What the configuration says of this machine, held against it: folders, files, secrets, programs, interfaces.

Nothing is changed. A value that is wrong by itself is missing from ``values`` (by ``group.option``), and passed over.
"""

from __future__ import annotations

import os
import shlex
import shutil
import ssl
import stat
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovca.conf import groups, secrets, storage
from ovca.conf.files import Source
from ovca.conf.inspection import Finding, Result, passwords
from ovca.exceptions import ConfigError
from ovca.files import is_there

PATIENCE = 10.0
"""Seconds that a file system may take; one on a dead server hangs whoever looks at it."""
NETWORK = Path('/sys/class/net')
Values = Mapping[str, Any]


def look(values: Values, known: Mapping[str, groups.Options]) -> list[Finding]:
    """All findings about this machine; ``known`` are the options by group, plugins' too."""
    return [*_folders(values), *_secrets(values, known), *_others(values)]


def readable(sources: Sequence[Source], known: Mapping[str, Any]) -> list[Finding]:
    """The files of the configuration that hold a password and can be read by others."""
    found = []
    for source in sources:
        held = passwords(source, known)
        mode = Path(source.path).stat().st_mode
        if held and mode & secrets.OTHERS:
            found.append(
                Finding(
                    source.path,
                    f'{", ".join(held)} holds a password, and others can read the file (mode {stat.S_IMODE(mode):04o})',
                    f'run: chmod 600 {shlex.quote(source.path)}; or name a file that holds the value with the option '
                    f'of the same name that ends in _file',
                    Result.WARNING,
                )
            )
    return found


def _passed(where: str, detail: object) -> Finding:
    return Finding(where, str(detail), result=Result.PASSED)


def _warning(where: str, detail: str, remedy: str) -> Finding:
    return Finding(where, detail, remedy, Result.WARNING)


def bounded(where: str, work: Callable[..., Finding], *args: Any, **kwargs: Any) -> Finding:
    """What ``work`` finds, or that it had no answer in time: then its thread hangs in the kernel, and is left there."""
    results: list[Finding] = []
    thread = threading.Thread(target=lambda: results.append(work(where, *args, **kwargs)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if results:
        return results[0]
    return Finding(where, f'no answer within {PATIENCE:g} s', 'look at the server of this file system')


def folder(where: str, path: str, *, write: bool = False) -> Finding:
    """Whether a path is a folder that can be used."""
    try:
        state = Path(path).stat()
    except OSError as exc:
        return Finding(where, f'{path}: {exc.strerror}', 'make or mount it, or name the right folder')
    if not stat.S_ISDIR(state.st_mode):
        return Finding(where, f'{path} is no folder', 'name a folder')
    if not os.access(path, os.R_OK | os.X_OK | (os.W_OK if write else 0)):
        return Finding(where, f'{path} cannot be {"written" if write else "read"} by this user', 'run it as root')
    return _passed(where, path)


def _folders(values: Values) -> Iterator[Finding]:
    if path := values.get('image.shared_storage'):
        where = '[image] shared_storage'
        found = bounded(where, folder, path, write=True)
        yield found
        two_hosts = values.get('cluster.peer') and values.get('database.single_host') is False
        if not found.failed and storage.on_root_disk(Path(path)):
            told = (where, f"{path} is on this node's own disk", 'mount the storage that both nodes share')
            if storage.needed(values.get('image.shared_storage_mounted'), two_hosts=bool(two_hosts)):
                yield Finding(*told)
            elif two_hosts:
                yield _warning(*told)
    yield from _backups(values)
    if path := values.get('image.key_folder'):
        yield _keys(path, needed=values.get('image.require_signature', True))
    if values.get('image.require_signature') is False:
        yield _warning(
            '[image] require_signature',
            'images that nobody signed are installed',
            'set it to true once the images are signed',
        )
    if path := values.get('provision.root'):
        yield folder('[provision] root', path)
    if path := values.get('provision.state_path'):
        yield folder('[provision] state_path', path, write=True)


def _backups(values: Values) -> Iterator[Finding]:
    """Whether backups outlive this node, where they have a folder of their own."""
    path, shared = values.get('backup.folder'), values.get('image.shared_storage')
    if not path or (shared and Path(path).is_relative_to(shared)):
        return
    two_hosts = bool(values.get('cluster.peer') and values.get('database.single_host') is False)
    needed = storage.needed(values.get('image.shared_storage_mounted'), two_hosts=two_hosts)
    yield bounded('[backup] folder', _own_disk, Path(path), needed=needed, two_hosts=two_hosts)


def _own_disk(where: str, path: Path, *, needed: bool, two_hosts: bool) -> Finding:
    if not (needed or two_hosts) or not storage.on_root_disk(storage.nearest(path)):
        return _passed(where, path)
    return Finding(where, storage.owned(path), storage.SHARE, Result.FAILED if needed else Result.WARNING)


def _keys(path: str, *, needed: bool) -> Finding:
    where = '[image] key_folder'
    found = folder(where, path)
    if not found.failed:
        keys = sorted(key.name for key in Path(path).glob('*.pub'))
        if keys:
            return _passed(where, f'{path}: {", ".join(keys)}')
        found = Finding(where, f'{path} holds no public key (*.pub)', "put the vendor's key there")
    return found if needed else _warning(where, found.detail, found.remedy)


def _secrets(values: Values, known: Mapping[str, groups.Options]) -> Iterator[Finding]:
    root = Path(values.get('provision.root', '/'))
    for name, path in values.items():
        group, _, option = name.partition('.')
        if not path or not _names_a_secret(group, option, known[group]):
            continue
        where = f'[{group}] {option}'
        yield _CHECKS.get(name, _secret)(where, path)
        if not _is_kept(Path(path), root):
            yield _warning(
                where,
                f'{path} is a link, which the next update of this node does not carry over',
                'put the file itself there',
            )


def _names_a_secret(group: str, name: str, options: groups.Options) -> bool:
    """Whether an option is the path of a secret's file (or, in the core, of certificates).

    A plugin may have other files, so it says so: by ``secret=True``, or by a secret option of the name before
    ``_file``.
    """
    if not name.endswith('_file'):
        return False
    secret = {option.dest for option in options if option.secret}
    return group in groups.core() or bool(secret & {name, name.removesuffix('_file')})


def _secret(where: str, path: str, read: Callable[[str, str], object] = secrets.read) -> Finding:
    try:
        read(path, where)
    except ConfigError as exc:
        detail, _, remedy = str(exc).removeprefix(f'{where} ').partition('; ')
        return Finding(where, detail, remedy, id=exc.id)
    return _passed(where, f'{path}: mode {stat.S_IMODE(Path(path).stat().st_mode):04o}')


def _is_kept(path: Path, root: Path) -> bool:
    """Whether the site item of the configuration carries a file over: it takes what the options name.

    What is not below the root is on another file system, which an update does not wipe.
    """
    return not (path.is_relative_to(root) and path.is_symlink())


def _ca(where: str, path: str) -> Finding:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as exc:  # ssl's own errors among them
        return Finding(where, f'{path} holds no CA certificates that can be read: {exc.strerror or exc}', 'write PEM')
    return _passed(where, path)


def _credentials(where: str, path: str) -> Finding:
    return _secret(where, path, secrets.content)


def _client(values: Values) -> Iterator[Finding]:
    """The certificate that is shown to sources, and its key."""
    certificate, key = values.get('update.client_certificate'), values.get('update.client_key')
    if not certificate:
        return
    where, private = '[update] client_certificate', key or certificate
    try:
        if problem := secrets.openness(private, Path(private).stat().st_mode):
            detail, _, remedy = problem.partition('; ')
            yield Finding(where, detail, remedy, id='secret-file-open')
            return
        ssl.create_default_context().load_cert_chain(certificate, key, password=lambda: '-')
    except OSError as exc:  # ssl's own errors among them
        detail = f'{certificate} and {private} cannot be used: {exc.strerror or exc}'
        yield Finding(where, detail, 'write PEM without a pass phrase', id='client-certificate')
    else:
        yield _passed(where, certificate)


_CHECKS = {'update.ca_file': _ca, 'update.credentials_file': _credentials}
"""What files hold that are no secret of one line."""


def _others(values: Values) -> Iterator[Finding]:
    yield from _client(values)
    if command := values.get('cluster.reboot_command'):
        yield _program('[cluster] reboot_command', command)
    if (command := values.get('notify.command')) and 'command' in values.get('notify.drivers', []):
        yield _program('[notify] command', command)
    if interface := values.get('cluster.virtual_ip_interface'):
        where = '[cluster] virtual_ip_interface'
        if (NETWORK / interface).exists():
            yield _passed(where, interface)
        else:
            there = ', '.join(sorted(path.name for path in NETWORK.glob('*'))) or 'none'
            yield Finding(where, f'there is no interface {interface}', f'name one of these: {there}')
    uri = values.get('update.uri') or ''
    path = urllib.request.url2pathname(urllib.parse.urlsplit(uri).path) if uri.startswith('file:') else uri
    if path.startswith('/') and not is_there(path):
        yield _warning('[update] uri', f'{path} is not there now', 'it must be there when `ovca update` is given')


def _program(where: str, command: str) -> Finding:
    program = shlex.split(command)[0]
    found = shutil.which(program)
    if found:
        return _passed(where, found)
    return Finding(where, f'there is no program {program}', 'install it, or name the right one')
