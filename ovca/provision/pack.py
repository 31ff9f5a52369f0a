"""Packs the installer as one file that any Python 3.11 runs: ``boot/installer.pyz`` of an image."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from ovca.files import write_atomic

PACKAGE = Path(__file__).parent.parent
MODULES = (
    'files.py',
    'image/iso9660.py',
    'image/limits.py',
    'image/names.py',
    'image/records.py',
    'image/rockridge.py',
    'provision/client.py',
    'provision/installer.py',
    'provision/putback.py',
    'provision/tree.py',
)
MAIN = 'import sys\nfrom ovca.provision.installer import main\nsys.exit(main())\n'


def pack(output: Path) -> None:
    """Write the archive: the same bytes for the same modules, and nothing that needs more than the library."""
    members = {'__main__.py': MAIN.encode()}
    members |= {f'ovca/{folder}__init__.py': b'' for folder in ('', 'image/', 'provision/')}
    members |= {f'ovca/{name}': (PACKAGE / name).read_bytes() for name in MODULES}
    packed = io.BytesIO()
    # Stored, not deflated: what deflate makes depends on the machine's zlib.
    with zipfile.ZipFile(packed, 'w', zipfile.ZIP_STORED) as archive:
        for name, data in sorted(members.items()):
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, data)
    write_atomic(output, packed.getvalue())
