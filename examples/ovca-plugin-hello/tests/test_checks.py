"""The check before an update."""

from __future__ import annotations

import pytest
from ovca_hello.checks import Outlets

from ovca.remaster.checks import Check
from ovca.testing import contracts, run
from ovca.testing.appliance import Config


class TestContract(contracts.CheckContract):
    name = 'hello-outlets'

    def make_passing(self) -> Check:
        self.config.set('power', bmc={'mn1': 'http://strip/outlets/1', 'mn2': 'http://strip/outlets/2'})
        return Outlets(self.context())

    def make_failing(self) -> Check:
        self.config.set('power', bmc={'mn1': 'http://strip/outlets/1', 'mn2': 'http://strip/outlets/1'})
        return Outlets(self.context())


@pytest.mark.usefixtures('ovca_database')
def test_ovca_check_shows_it_when_the_configuration_names_it(ovca_config: Config) -> None:
    ovca_config.set('check', enabled=['hello-outlets'])
    ovca_config.set('power', bmc={'mn1': 'http://strip/outlets/1', 'mn2': 'http://strip/outlets/1'})

    result = run(['check', '-f', 'json'], config_file=ovca_config)

    row = next(row for row in result.json if row['id'] == 'hello-outlets')
    assert (result.code, row['result'], row['detail']) == (6, 'failed', 'one outlet is shared by mn1 and mn2')
