"""The ``/etc/ovca.conf`` of a lab's node: the product's own options, with the times of a lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovca.lab import network, spec

BMC_PASSWORD = 'etc/ovca/bmc-password'
SITE_FILES = ('etc/ovca.conf', 'etc/ovca/keys/*', BMC_PASSWORD)
Overrides = Mapping[str, Mapping[str, Any]]


def sections(lab: spec.LabSpec, node: spec.NodeSpec, overrides: Overrides | None = None) -> dict[str, dict[str, Any]]:
    """Return a node's options by group; ``overrides`` win."""
    cables, peer = node.cables, lab.node(node.peer)
    found: dict[str, dict[str, Any]] = {
        'update': {'connect_timeout': 5, 'read_timeout': 10},
        'image': {
            'shared_storage': lab.shared,
            'shared_storage_mounted': False,
            'key_folder': node.root / 'etc/ovca/keys',
            'require_signature': True,
            'space_reserve': 0,
        },
        'database': {
            'connection': network.through_cable(lab, node),
            'single_host': lab.database.startswith('sqlite'),
            'connect_timeout': 1,
            'lock_timeout': 1,
            'statement_timeout': 1.5,
            'idle_timeout': 1.5,
        },
        'cluster': {
            'node_name': node.name,
            'peer': peer.name,
            'ttl': 3,
            'renew_interval': 1,
            'self_demote': 2,
            'address': node.address,
            'port': spec.STATUS_PORT,
            'peer_url': f'http://{cables}:{spec.STATUS_PORT}',
            'virtual_ip': lab.virtual_ip,
            'boot_port': spec.BOOT_PORT,
            'boot_tls_port': spec.TLS_PORT,
            'reboot_command': node.hardware / 'reboot',
            'fence_timeout': 10,
            'poll_interval': 0.5,
            'silent_after': 6,
        },
        'remaster': {
            'soak': 2,
            'prove_soak': 3,
            'install_deadline': 60,
            'verify_deadline': 60,
            'prove_deadline': 60,
            'rollback_deadline': 60,
            'grant_ttl': 60,
            'order_interval': 10,
            'ready_age': 5,
            'unhealthy_limit': 20,
        },
        'provision': {
            'driver': 'process',
            'mac': _pairs({each.name: each.mac for each in lab.nodes}),
            'root': node.root,
            'state_path': node.root / 'var/lib/ovca',
            'site_files': ','.join(SITE_FILES),
        },
        'power': {
            'driver': 'redfish',
            'bmc': _pairs(bmcs(lab, node)),
            'user': spec.BMC_USER,
            'password_file': node.root / BMC_PASSWORD,
            'timeout': 3,
            'poll': 0.1,
        },
        'health': {'interval': 1, 'timeout': 3, 'bmc_interval': 0},
        'check': {'space_reserve': 0, 'network_folder': node.network},
    }
    for group, options in (overrides or {}).items():
        found.setdefault(group, {}).update(options)
    return found


def bmcs(lab: spec.LabSpec, node: spec.NodeSpec) -> dict[str, str]:
    """The URIs of the BMCs by node, as ``node`` reaches them."""
    return {each.name: f'http://{node.cables}:{spec.BMC_PORT + 1 + i}{each.system}' for i, each in enumerate(lab.nodes)}


def text(options: Mapping[str, Mapping[str, Any]]) -> str:
    """The options as a file."""
    lines = ['# A node of a process lab.']
    for group, values in options.items():
        lines += ['', f'[{group}]', *(f'{name} = {_value(value)}' for name, value in values.items())]
    return '\n'.join(lines) + '\n'


def _value(value: object) -> str:
    # oslo.config replaces $name by the value of an option.
    return str(value).lower() if isinstance(value, bool) else str(value).replace('$', '$$')


def _pairs(values: Mapping[str, str]) -> str:
    return ','.join(f'{name}:{value}' for name, value in values.items())
