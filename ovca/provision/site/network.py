"""Network settings that stay with the card, whatever the next system calls it.

A new kernel or a new udev may give a card another name. Where the format of a file can say which card is meant by its
address, what is put back says it so; where it cannot, the file is carried over as it is, and that is told.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ovca.provision.site.base import FileItem

NETWORKD = 'etc/systemd/network'
MANAGER = 'etc/NetworkManager/system-connections'
BY_ADDRESS, BY_NAME = 'by the address of the card', 'by the name of the card'
SECTION = re.compile(r'\s*\[([^]]*)]\s*')
OPTION = re.compile(r'\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*(.*?)\s*')


def cards(sysfs: Path) -> dict[str, str]:
    """The real network cards with the addresses that were burnt in, by name.

    Bridges, VLANs and the like are not among them, nor a card whose own address is not known.
    """
    found = {}
    for folder in sorted(sysfs.glob('*')) if sysfs.is_dir() else ():
        if not (folder / 'device').exists():
            continue
        # A card in a bond wears the bond's address; the kernel keeps its own beside it.
        own = _text(folder / 'bonding_slave/perm_hwaddr')
        if not own and _text(folder / 'addr_assign_type') == '0':
            own = _text(folder / 'address')
        if re.fullmatch(r'[0-9a-f]{2}(:[0-9a-f]{2}){5}', own):
            found[folder.name] = own
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip().lower()
    except (OSError, UnicodeError):
        return ''


def by_address(path: str, text: str, known: Mapping[str, str]) -> str | None:
    """The text of a file with cards named by address; None: the format, or what it says, does not allow that."""
    if path.startswith(f'{NETWORKD}/') and path.endswith('.network'):
        return _networkd(text, known)
    if path.startswith(f'{MANAGER}/'):
        return _manager(text, known)
    return None


def _networkd(text: str, known: Mapping[str, str]) -> str | None:
    """``[Match] Name=`` becomes ``PermanentMACAddress=``: a VLAN or a bridge has its card's address, but no own."""
    lines, section, changed = text.splitlines(keepends=True), '', False
    matched = [value for part, key, value in _options(text) if part == 'Match' and key == 'Name']
    if not matched or any(part == 'Match' and key.endswith('MACAddress') for part, key, _ in _options(text)):
        return None
    result = []
    for line in lines:
        if found := SECTION.fullmatch(line.rstrip('\n')):
            section = found[1]
        option = OPTION.fullmatch(line.rstrip('\n'))
        if option and section == 'Match' and option[1] == 'Name':
            words = option[2].split()
            if not words or any(word not in known for word in words):
                return None  # a pattern, a virtual interface, or a card that is not there
            line, changed = f'PermanentMACAddress={" ".join(known[word] for word in words)}\n', True
        result.append(line)
    return ''.join(result) if changed else None


def _manager(text: str, known: Mapping[str, str]) -> str | None:
    """``interface-name`` goes; ``[ethernet] mac-address`` comes, which is held against the burnt-in address."""
    options = {(part, key): value for part, key, value in _options(text)}
    name = options.get(('connection', 'interface-name'), '')
    section = next((each for each in ('ethernet', '802-3-ethernet') if any(p == each for p, _ in options)), 'ethernet')
    kind = options.get(('connection', 'type'))
    if kind not in ('ethernet', '802-3-ethernet') or name not in known or (section, 'mac-address') in options:
        return None
    result, present, told = [], '', False
    for line in text.splitlines(keepends=True):
        found = SECTION.fullmatch(line.rstrip('\n'))
        present = found[1] if found else present
        option = OPTION.fullmatch(line.rstrip('\n'))
        if option and present == 'connection' and option[1] == 'interface-name':
            continue
        result.append(line)
        if found and present == section and not told:
            result.append(f'mac-address={known[name].upper()}\n')
            told = True
    if not told:
        joint = '' if not result or result[-1].endswith('\n') else '\n'
        result.append(f'{joint}\n[{section}]\nmac-address={known[name].upper()}\n')
    return ''.join(result)


def _options(text: str) -> list[tuple[str, str, str]]:
    found, section = [], ''
    for line in text.splitlines():
        if header := SECTION.fullmatch(line):
            section = header[1]
        elif option := OPTION.fullmatch(line):
            found.append((section, option[1], option[2]))
    return found


class Network(FileItem):
    """The configuration of the network cards: systemd-networkd's, NetworkManager's, and ifupdown's."""

    patterns = (
        f'{NETWORKD}/*',
        f'{NETWORKD}/*.d/*',
        f'{MANAGER}/*',
        'etc/network/interfaces',
        'etc/network/interfaces.d/*',
    )

    def content(self, root: Path, path: str, data: bytes) -> bytes:
        text = self._by_address(root, path, data)
        return data if text is None else text.encode()

    def _by_address(self, root: Path, path: str, data: bytes) -> str | None:
        try:
            return by_address(path, data.decode(), cards(root / 'sys/class/net'))
        except UnicodeError:
            return None

    def notes(self, root: Path, paths: Sequence[str]) -> Mapping[str, str]:
        """Which card has which name now, and how each file names it."""
        if not paths:
            return {}
        result = {f'card {name}': address for name, address in cards(root / 'sys/class/net').items()}
        for path in paths:
            if fnmatch.fnmatch(path, '*.netdev'):
                continue  # it makes an interface, and names no card
            try:
                data = (root / path).read_bytes()
            except OSError:
                continue
            addressed = self._by_address(root, path, data) is not None or b'mac' in data.lower()
            result[path] = BY_ADDRESS if addressed else BY_NAME
        return result
