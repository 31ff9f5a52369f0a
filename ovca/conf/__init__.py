"""The configuration: ``/etc/ovca.conf``, one module for each group of options.

It is read with oslo.config, from one named file and the defaults that an image brings beside it, and from nowhere
else: no home directories, no environment variables for single options. What oslo.config would pass over, a misspelt
name or a value that is only looked at hours later, is an error here, at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from oslo_config import cfg

from ovca.conf import groups
from ovca.conf.configuration import Configuration
from ovca.conf.reading import examine
from ovca.exceptions import ConfigError
from ovca.files import is_there

DEFAULT_PATH = '/etc/ovca.conf'
ENVIRONMENT = 'OVCA_CONFIG_FILE'


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The core's options by group, for the sample's generator and the documentation."""
    return list(groups.core().items())


def list_plugin_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options of the plugins that are installed, by group; one that is broken is named in the log."""
    found, broken = groups.all_installed()
    for exc in broken:
        logging.getLogger(__name__).warning('%s', exc)
    return list(found.items())


def chosen_path(config_file: str | None = None) -> str:
    """The site's file: the one that is named, or by ``OVCA_CONFIG_FILE``, or ``/etc/ovca.conf``.

    :raises ConfigError: it was named and does not exist; ``/etc/ovca.conf`` alone may be absent.
    """
    if config_file == '':  # of a variable that is not set; the default would be another file than was meant
        raise ConfigError('--config-file names no file; name one, or leave it out', id='config-missing')
    chosen = config_file or os.environ.get(ENVIRONMENT)
    if chosen and not is_there(chosen):
        source = '--config-file' if config_file else f'the environment variable {ENVIRONMENT}'
        raise ConfigError(f'{chosen} does not exist; name the right file with {source}', id='config-missing')
    return chosen or DEFAULT_PATH


def load(config_file: str | None = None, overrides: Sequence[str] = ()) -> Configuration:
    """Read the configuration and check every value in it.

    The site's file is read after the vendor's ``ovca/vendor.d/*.conf`` beside it, and wins. ``overrides`` are
    ``group.option=value``, for a single run.

    :raises ConfigError: a file, a value or an option's name is wrong.
    """
    conf, findings = examine(chosen_path(config_file), overrides)
    for finding in findings:
        if finding.failed:
            raise ConfigError(str(finding), id=finding.id)
    return conf
