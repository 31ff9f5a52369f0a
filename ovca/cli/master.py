"""The master."""

from __future__ import annotations

import argparse

from ovca.cli import base


class MasterShow(base.ShowOne):
    """Show which node is master, under which epoch, and how fresh its lease is.

    When the other node could not take over, it says since when and why.

    Example: ovca master-show -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> base.Record:
        facts, alone = self.service.master(), self.service.alone()
        shown = {
            'master': facts.holder,
            'epoch': facts.epoch,
            'acting': facts.acting and not facts.expired,
            'this_node': facts.here,
            'is_this_node': facts.is_here,
            'renewed_at': facts.renewed_at,
            'seconds_since_renewal': None if facts.age is None else round(facts.age, 1),
            'ttl': facts.ttl,
            'expired': facts.expired,
            'fence_proof': facts.fence_proof,
            'alone_since': alone.since if alone else None,
            'alone_because': alone.why if alone else None,
        }
        return tuple(shown), tuple(shown.values())
