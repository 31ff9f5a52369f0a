"""Power by a strip whose outlets are switched by HTTP: ``[power] driver = strip``.

The address of a node in ``[power] bmc`` is its outlet, ``http://strip.example.com/outlets/3``. A GET answers
``{"on": true}``, and a PUT of ``{"on": false}`` switches it off.
"""

from __future__ import annotations

from typing import Any

import requests

from ovca.power.base import PowerDriver, PowerState


class StripPower(PowerDriver):
    """One outlet. A strip cannot choose what a machine boots from, so no capability is declared."""

    api = 1

    def _state(self) -> PowerState:
        return PowerState.ON if self._ask('GET').get('on') else PowerState.OFF

    def _on(self) -> None:
        self._ask('PUT', on=True)

    def _off(self) -> None:
        self._ask('PUT', on=False)

    def _ask(self, method: str, **order: bool) -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False  # a strip is never behind the proxy of the environment
            session.auth = (self.bmc.user or '', self.bmc.password or '')
            answer = session.request(
                method, self.bmc.place, json=order or None, timeout=self.bmc.timeout, verify=self.bmc.verify
            )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    # Every error of requests is an OSError, which the base turns into a PowerError that names node and outlet; here
    # it only gets better words.
    def _explain(self, exc: Exception) -> tuple[str, str]:
        if isinstance(exc, requests.HTTPError):
            if exc.response.status_code in (401, 403):
                return f'it refuses user {self.bmc.user}', 'set [power] user and password_file'
            return f'it answers {exc.response.status_code}', 'look whether [power] bmc names an outlet of this strip'
        if isinstance(exc, requests.Timeout):
            return 'no answer in time', ''
        if isinstance(exc, requests.ConnectionError):
            return 'no connection', ''
        return type(exc).__name__, ''
