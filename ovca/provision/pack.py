"""Packs the installer as one file that any Python 3.11 runs: ``boot/installer.pyz`` of an image."""

from __future__ import annotations

import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
MODULES = ('files.py', 'image/iso9660.py', 'provision/installer.py')
MAIN = 'import sys\nfrom ovca.provision.installer import main\nsys.exit(main())\n'


def pack(output: Path) -> None:
    """Write the archive: the same bytes for the same modules, and nothing that needs more than the library."""
    members = {'__main__.py': MAIN.encode()}
    members |= {f'ovca/{folder}__init__.py': b'' for folder in ('', 'image/', 'provision/')}
    members |= {f'ovca/{name}': (PACKAGE / name).read_bytes() for name in MODULES}
    with zipfile.ZipFile(output, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
