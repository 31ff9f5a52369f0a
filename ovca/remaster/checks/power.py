"""The check of the BMCs: without them no node can be fenced, and none installed."""

from __future__ import annotations

from collections.abc import Sequence

from ovca.cluster.nodes import power_of
from ovca.exceptions import OvcaError
from ovca.power.base import PowerState
from ovca.remaster.checks import Check, CheckContext, CheckResult


class BmcReachable(Check):
    """The BMCs of both nodes answer a power query."""

    id = 'bmc'

    def __init__(self, context: CheckContext, nodes: Sequence[str] = ()) -> None:
        """``nodes`` are those whose BMCs are asked; none means both."""
        super().__init__(context)
        cluster = context.conf.cluster
        self._nodes = [*nodes] or [name for name in (cluster.node_name, cluster.peer) if name]
        self._whose = ' and '.join(nodes) or 'both nodes'

    def check(self) -> CheckResult:
        facts, bad = {}, []
        for name in self._nodes:
            try:
                with power_of(self.context.conf, self.context.database, name) as power:
                    state = power.state()
            except OvcaError as exc:
                facts[name] = {'power': None, 'error': str(exc), 'error_id': exc.id}
                bad.append(exc.with_id if str(exc).startswith(name) else f'{name}: {exc.with_id}')
            else:
                facts[name] = {'power': state.value, 'error': None, 'error_id': None}
                if state is PowerState.UNKNOWN:
                    bad.append(f'{name}: its BMC does not tell the power state')
        if bad:
            return self.failed('; '.join(bad), 'look at the BMCs, the way to them, and [power]', facts)
        return self.passed(f'the BMCs of {self._whose} answer', facts)
