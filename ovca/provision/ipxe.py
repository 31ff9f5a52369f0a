"""Boot scripts for iPXE (https://ipxe.org/scripting)."""

from __future__ import annotations

from ovca.provision.authority import Order
from ovca.provision.base import ProvisionDriver

INSTALL = """\
#!ipxe
echo ovca: installing {{ order.version }} on {{ order.node }} (attempt {{ order.attempt }})
kernel {{ base }}/boot/vmlinuz {{ arguments }}
initrd --name initrd {{ base }}/boot/initrd
boot || goto local
:local
sanboot --no-describe --drive 0x80
"""
LOCAL = '#!ipxe\nsanboot --no-describe --drive 0x80 || exit\n'


class IpxeDriver(ProvisionDriver):
    """Loads the kernel and the initial RAM disk that the image brings in ``boot/``."""

    def install_script(self, order: Order) -> str:
        from jinja2 import Environment, StrictUndefined

        words = [
            'initrd=initrd',
            *(f'ovca.{name}={value}' for name, value in sorted(vars(order).items())),
            self.conf.provision.kernel_args,
        ]
        # A boot script is no HTML; StrictUndefined makes a misspelt name an error instead of nothing.
        template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(INSTALL)  # noqa: S701
        base = f'{order.boot_url}/image/{order.version}'
        return template.render(order=order, base=base, arguments=' '.join(filter(None, words)))

    def local_script(self) -> str:
        return LOCAL
