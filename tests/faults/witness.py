"""The witness: a role on the nodes that notes when it serves, and what it has noted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ovca.lab.images import Plugin
from tests.faults.onnode import ovca_witness_service

MODULES = ('ovca_witness.py', 'ovca_witness_service.py')


def plugin() -> Plugin:
    """The distribution that brings the role to a node."""
    source = Path(__file__).parent / 'onnode'
    return Plugin(
        'ovca-witness',
        {name: (source / name).read_text() for name in MODULES},
        {'ovca.role': {'witness': 'ovca_witness:Witness'}},
        configuration='[cluster]\nroles = virtual-ip, boot-service, witness\n',
    )


@dataclass(frozen=True)
class Note:
    """What a witness noted: it began (``start``), ended (``stop``), or found another one serving (``clash``)."""

    node: str
    what: str
    at: float
    """Seconds since 1970."""


def notes(folder: Path) -> tuple[Note, ...]:
    """All notes of a lab, in order."""
    path = folder / 'witness.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return tuple(Note(**json.loads(line)) for line in lines)


def serving(folder: Path, node: str) -> bool:
    """Whether the role runs on a node now."""
    return ovca_witness_service.process(str(folder), node) is not None
