"""Boot scripts for machines that are processes (the process lab)."""

from __future__ import annotations

from ovca.provision.authority import Order
from ovca.provision.base import ProvisionDriver, words

HEADER = '#!ovca-process'


class ProcessDriver(ProvisionDriver):
    """A first line, the verb, and the order as ``key=value`` lines."""

    def install_script(self, order: Order) -> str:
        lines = [HEADER, f'install {order.boot_url}/image/{order.version}/boot/installer.pyz']
        lines += [f'{name}={value}' for name, value in words(order).items()]
        return '\n'.join(lines) + '\n'

    def local_script(self) -> str:
        return f'{HEADER}\nlocal\n'
