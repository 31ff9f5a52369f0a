"""A check before each update: ``[check] enabled = hello-outlets``."""

from __future__ import annotations

from ovca.remaster.checks import Check, CheckResult


class Outlets(Check):
    """Each node has an outlet of its own; else powering one off to take over would power off both."""

    api = 1
    id = 'hello-outlets'

    def check(self) -> CheckResult:
        nodes_of: dict[str, list[str]] = {}
        for node, address in self.context.conf.power.bmc.items():
            nodes_of.setdefault(address, []).append(node)
        shared = sorted(' and '.join(sorted(nodes)) for nodes in nodes_of.values() if len(nodes) > 1)
        if shared:
            return self.failed(f'one outlet is shared by {"; by ".join(shared)}', 'give each its own in [power] bmc')
        return self.passed(f'{len(nodes_of)} nodes have an outlet each')
