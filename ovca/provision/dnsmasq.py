"""The static configuration of dnsmasq: it hands iPXE to known machines and points them at the boot service.

It never changes while an update runs, and dnsmasq is never told to read it again: the boot service alone decides what a
machine boots. (dnsmasq 2.90 dies of SIGHUP when hosts in a file of their own have tags; these are in the main file.)
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovca.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oslo_config import cfg

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,62}')
PLAIN = re.compile(r'[^\s,#"]+')
MAC = re.compile(r'[0-9a-f]{2}(:[0-9a-f]{2}){5}')

TEMPLATE = """\
# Written by ovca. Static: it is never reloaded, the boot service decides what a machine boots.
port=0
bind-interfaces
interface={{ interface }}
dhcp-range={{ network.network_address }},static,{{ network.netmask }},1h
{% for host in hosts -%}
dhcp-host={{ host.mac }},set:{{ host.name }},{{ host.address }}
{% endfor -%}
dhcp-ignore=tag:!known
enable-tftp
tftp-root={{ tftp_root }}
dhcp-match=set:ipxe,175
dhcp-match=set:bios,option:client-arch,0
dhcp-match=set:efi64,option:client-arch,7
dhcp-match=set:efi64,option:client-arch,9
dhcp-match=set:efihttp,option:client-arch,16
dhcp-option-force=tag:efihttp,60,HTTPClient
dhcp-boot=tag:ipxe,{{ boot_url }}/boot/${net0/mac:hexhyp}
dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe
dhcp-boot=tag:!ipxe,tag:efi64,snponly.efi
dhcp-boot=tag:!ipxe,tag:efihttp,{{ boot_url }}/files/snponly.efi
"""


@dataclass(frozen=True)
class Host:
    """A machine that is booted: its card, and the address it gets."""

    name: str
    mac: str
    address: str


def hosts_of(
    conf: cfg.ConfigOpts, addresses: Mapping[str, str], stored: Mapping[str, str | None] | None = None
) -> list[Host]:
    """Return the machines of ``[provision] mac``, and those that only the database (``stored``) has a card for.

    :raises ConfigError: one of them has no address.
    """
    hosts = []
    known = {name: mac for name, mac in (stored or {}).items() if mac}
    for name, mac in sorted({**known, **conf.provision.mac}.items()):
        if name not in addresses:
            raise ConfigError(f'{name} has a network card to boot from, but no address; give it one', id='boot-network')
        hosts.append(Host(name, mac.lower().replace('-', ':'), addresses[name]))
    return hosts


def render(*, interface: str, network: str, tftp_root: str, boot_url: str, hosts: Sequence[Host]) -> str:
    """Return the configuration. ``network`` is the boot network, as ``10.77.0.0/24``.

    :raises ConfigError: a value would be read by dnsmasq as something else.
    """
    from jinja2 import Environment, StrictUndefined

    for what, value in (('interface', interface), ('tftp_root', tftp_root), ('boot_url', boot_url)):
        if not PLAIN.fullmatch(value):
            raise ConfigError(
                f'{what} {value!r} is empty, or holds what dnsmasq takes for a separator', id='boot-network'
            )
    try:
        net = ipaddress.IPv4Network(network)
    except ValueError as exc:
        raise ConfigError(f'the boot network is wrong: {exc}; write it as 10.77.0.0/24', id='boot-network') from exc
    if not hosts:
        raise ConfigError('there is no machine to boot; set [provision] mac', id='boot-network')
    for host in hosts:
        _check(host, net)
    for what in ('name', 'mac', 'address'):
        if len({getattr(host, what) for host in hosts}) != len(hosts):
            raise ConfigError(f'two machines have the same {what}; see [provision] mac', id='boot-network')
    # A configuration file is no HTML; StrictUndefined makes a misspelt name an error instead of nothing.
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(TEMPLATE)
    return template.render(
        interface=interface, network=net, tftp_root=tftp_root, boot_url=boot_url.rstrip('/'), hosts=hosts
    )


def _check(host: Host, network: ipaddress.IPv4Network) -> None:
    if not NAME.fullmatch(host.name):
        raise ConfigError(f'{host.name!r} is not a name for a node; see [provision] mac', id='boot-network')
    if not MAC.fullmatch(host.mac):
        raise ConfigError(
            f'{host.name}: {host.mac!r} is not the address of a network card; see [provision] mac', id='boot-network'
        )
    try:
        inside = ipaddress.IPv4Address(host.address) in network
    except ValueError:
        inside = False
    if not inside:
        raise ConfigError(
            f'{host.name}: {host.address!r} is no address of the boot network {network}', id='boot-network'
        )
