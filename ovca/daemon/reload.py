"""SIGHUP: the configuration is read anew, checked, and taken over as far as a running service can."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

from ovca import conf as configuration
from ovca.conf.configuration import Configuration
from ovca.conf.reading import values_of
from ovca.conf.reload import Change, compare
from ovca.exceptions import ConfigError, OvcaError

LOG = logging.getLogger(__name__)


class Reloader:
    """Reads the configuration anew when it is asked to, in a thread of its own.

    ``wanted`` gets an item for each SIGHUP; a signal's handler may put one into it at any moment. ``changed`` is called
    when an option has another value now.
    """

    def __init__(
        self,
        conf: Configuration,
        config_file: str | None,
        wanted: queue.SimpleQueue[None],
        *,
        changed: Callable[[], None],
    ) -> None:
        self._conf, self._file, self._wanted, self._changed = conf, config_file, wanted, changed

    def run(self) -> None:
        """Wait for requests, for ever."""
        while True:
            self._wanted.get()
            self.once()

    def once(self) -> list[Change]:
        """Read the configuration, and take over what can be; return what differs.

        A wrong configuration changes nothing, and is named in the log.
        """
        try:
            changes = self._changes()
        except OvcaError as exc:
            text = ' '.join(str(exc).split())  # one line, whatever the cause brought along
            LOG.error('the configuration was not reloaded, the old one stays in use: %s [%s]', text, exc.id)
            return []
        except Exception:  # whatever it is, a service that works goes on working
            LOG.exception('the configuration was not reloaded, the old one stays in use')
            return []
        now = [change for change in changes if change.at_once]
        later = [change for change in changes if not change.at_once]
        self._conf.take(now)
        for change in now:
            LOG.info('configuration: %s', change)
        if later:
            LOG.warning(
                'the configuration was reloaded; a restart of ovca.service is needed for: %s',
                '; '.join(map(str, later)),
            )
        else:
            LOG.info('the configuration was reloaded; %s options changed', len(now))
        if now:
            self._changed()
        return changes

    def _changes(self) -> list[Change]:
        fresh = configuration.load(self._file)
        lost = {source.path for source in self._conf.sources} - {source.path for source in fresh.sources}
        if self._conf.path in lost:  # with no file at all every option would go back to its default
            raise ConfigError(f'{self._conf.path} is gone; put it back', id='config-missing')
        for group in {*fresh.options, *self._conf.options}:
            fresh.adopt(group)
            self._conf.adopt(group)
        return compare(fresh.options, values_of(self._conf)[0], values_of(fresh)[0])
