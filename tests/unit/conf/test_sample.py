from __future__ import annotations

import io
from pathlib import Path

from oslo_config import cfg, generator

from ovca import conf

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / 'etc' / 'ovca.conf.sample'


def test_the_sample_is_what_the_generator_makes() -> None:
    settings = cfg.ConfigOpts()
    generator.register_cli_opts(settings)
    settings(['--config-file', str(ROOT / 'etc' / 'config-generator.conf')], use_env=False)
    made = io.StringIO()

    generator.generate(settings, output_file=made)

    assert made.getvalue() == SAMPLE.read_text(), 'run tox -e config-sample, and commit etc/ovca.conf.sample'


def test_the_sample_is_a_valid_configuration() -> None:
    conf.load(str(SAMPLE))


def test_the_sample_is_valid_with_every_option_uncommented(tmp_path: Path) -> None:
    lines = SAMPLE.read_text().splitlines()
    values = [line.removeprefix('#') if line[:1] == '#' and line[1:2] not in ('', ' ') else line for line in lines]
    path = tmp_path / 'ovca.conf'
    path.write_text('\n'.join(line for line in values if '<None>' not in line))

    conf.load(str(path))
