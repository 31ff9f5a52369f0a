"""Boot scripts for iPXE (https://ipxe.org/scripting)."""

from __future__ import annotations

from ovca.provision.authority import Order
from ovca.provision.base import ProvisionDriver, words

# Each step that fails ends at the local disk. `initrd=` on the kernel's line is what EFI needs.
INSTALL = """\
#!ipxe
echo ovca: installs {{ order.version }} on {{ order.node }}, attempt {{ order.attempt }}
kernel {{ base }}/boot/vmlinuz initrd=initrd {{ arguments }} || goto local
initrd --name initrd {{ base }}/boot/initrd || goto local
boot || goto local
:local
sanboot --no-describe --drive 0x80 || exit
"""
LOCAL = '#!ipxe\nsanboot --no-describe --drive 0x80 || exit\n'


class IpxeDriver(ProvisionDriver):
    """Loads the kernel and the initial RAM disk that the image brings in ``boot/``."""

    def install_script(self, order: Order) -> str:
        from jinja2 import Environment, StrictUndefined

        arguments = [f'ovca.{name}={value}' for name, value in words(order).items()]
        arguments += self.conf.provision.kernel_args.split()
        # A boot script is no HTML; StrictUndefined makes a misspelt name an error instead of nothing.
        template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(INSTALL)
        base = f'{order.boot_url}/image/{order.version}'
        return template.render(order=order, base=base, arguments=' '.join(arguments))

    def local_script(self) -> str:
        return LOCAL
