"""Addresses of the configuration, in the forms in which others take them."""

from __future__ import annotations


def bare(address: str) -> str:
    """An address without its prefix: ``192.0.2.10`` of ``192.0.2.10/24``."""
    return str(address).partition('/')[0]


def in_url(address: str) -> str:
    """An address, or a host's name, as it stands in a URL: one of IPv6 is put into brackets (RFC 3986, 3.2.2)."""
    host = bare(address)
    return f'[{host}]' if ':' in host else host
