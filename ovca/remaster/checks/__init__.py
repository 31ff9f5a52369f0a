"""What must hold before an update touches anything; entry-point group ``ovca.check``."""

from __future__ import annotations

import enum
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from ovca import plugins
from ovca.db.engine import Database
from ovca.db.models import Update
from ovca.exceptions import OvcaError
from ovca.image.names import shown
from ovca.remaster.checks.patience import NoAnswer, Patience
from ovca.remaster.protocol import State

if TYPE_CHECKING:
    from oslo_config import cfg

    from ovca.cluster.machine import Machines

__all__ = ['Check', 'CheckContext', 'CheckResult', 'Result']

LOG = logging.getLogger(__name__)
GROUP = 'ovca.check'
CORE = (
    'nodes',
    'lease',
    'operation',
    'version-path',
    'image',
    'unknown-images',
    'schema',
    'bmc',
    'peer-status',
    'clocks',
    'space',
    'network-cards',
    'certificates',
    'backup',
    'site',
)
AGAIN = 'mend this, then run `ovca check` again'
HANGS = (
    'see whether the shared storage answers, and whatever else the check looks at; if it is only slow, raise [check] '
    'timeout'
)


class Result(enum.StrEnum):
    """How a check ended."""

    PASSED = 'passed'
    WARNING = 'warning'
    FAILED = 'failed'
    SKIPPED = 'skipped'


@dataclass(frozen=True)
class CheckResult:
    """One check's answer: what was found, what to do, and the same for programs."""

    id: str
    result: Result
    detail: str
    remedy: str = ''
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was measured and compared, as JSON data with names in snake_case."""


@dataclass(frozen=True)
class CheckContext:
    """What a check may look at."""

    conf: cfg.ConfigOpts
    database: Database
    version: str | None
    """The version to install; None checks the appliance alone."""
    retry: bool = False
    """The update retries a failed one: the nodes may run different software."""
    allow_downgrade: bool = False
    """The operator asked for an older version than the one that runs."""

    @cached_property
    def _machines(self) -> Machines:
        """What both machines tell of themselves; each is asked once for all checks of a run."""
        from ovca.cluster.machine import Machines

        return Machines(self.conf, self.database)


class Check(ABC):
    """One condition that must hold before an update touches anything; entry-point group ``ovca.check``.

    A driver sets :attr:`id` to its entry point's name, which is what an operator writes into ``[check] enabled``, and
    writes :meth:`check`, which returns :meth:`passed`, :meth:`warning`, :meth:`failed` or :meth:`skipped`.

    *When it is called.* A check is built and called anew each time, with a :class:`CheckContext` of that moment: by
    ``ovca check`` and ``ovca activate`` in the operator's own process; by the acting master's ovcad when an update is
    asked for; and by it once more as the update begins. ``context.version`` is the image to install, or None when the
    appliance alone is looked at; a check that needs an image is then :meth:`skipped`. ovcad imports the class at its
    start, on each node whose configuration names it.

    *From which thread.* From one of its own, the checks of one run one after the other. It is built elsewhere, so
    ``__init__`` must not look at anything that may hang.

    *How long it may take.* Seconds; somebody waits for the answer, and nothing else is decided meanwhile. After
    :meth:`patience`, by default ``[check] timeout``, it has failed; a call that hangs is left alone, and is not made
    again before it has returned. What must be measured for longer belongs into a health check.

    *What the answer means.* A failed check refuses the update before anything was changed. A warning is shown, and the
    update starts only if the operator accepts it: on a terminal with the answer to the one question, in a script with
    ``--accept <id>``. It never ends an update that has begun. Say what was found in ``detail`` and what to do in
    ``remedy``: half a sentence each, with names and numbers; ``facts`` has the same for programs. One that is skipped
    says why in ``detail``, or counts as failed. An ``OvcaError`` or ``OSError`` counts as failed, with its text as the
    detail and "mend this, then run ``ovca check`` again" as the remedy, so the text says what to mend; any other
    exception as well, with its type.

    *What must be idempotent.* All of it: a check looks and changes nothing, however often it is called.

    .. code-block:: python

        class Racks(Check):
            api = 1
            id = 'racks'

            def check(self) -> CheckResult:
                open_doors = doors()
                if open_doors:
                    return self.failed(f'rack doors {open_doors} are open', 'close them')
                return self.passed('all rack doors are closed')
    """

    api: ClassVar[int] = 1
    id = ''
    """The entry point's name."""

    def __init__(self, context: CheckContext) -> None:
        self.context = context

    @abstractmethod
    def check(self) -> CheckResult:
        """Return the answer; an exception counts as failed."""

    def patience(self) -> float:
        """The seconds that :meth:`check` may take."""
        return float(self.context.conf.check.timeout)

    def passed(self, detail: str, facts: Mapping[str, Any] | None = None) -> CheckResult:
        return CheckResult(self.id, Result.PASSED, detail, facts=facts or {})

    def warning(self, detail: str, remedy: str, facts: Mapping[str, Any] | None = None) -> CheckResult:
        return CheckResult(self.id, Result.WARNING, detail, remedy, facts or {})

    def failed(self, detail: str, remedy: str, facts: Mapping[str, Any] | None = None) -> CheckResult:
        return CheckResult(self.id, Result.FAILED, detail, remedy, facts or {})

    def skipped(self, detail: str, facts: Mapping[str, Any] | None = None) -> CheckResult:
        return CheckResult(self.id, Result.SKIPPED, detail, facts=facts or {})


def configured(conf: cfg.ConfigOpts) -> list[str]:
    """The names of the checks to run: the core's, then those of ``[check] enabled``."""
    return list(dict.fromkeys([*CORE, *conf.check.enabled]))


def run_all(
    conf: cfg.ConfigOpts,
    database: Database,
    version: str | None,
    *,
    retry: bool = False,
    allow_downgrade: bool = False,
    only: Collection[str] = (),
    patience: Patience | None = None,
) -> list[CheckResult]:
    """Run the core checks, those of ``[check] enabled``, and those that the image brings; each is answered.

    The order is stable. ``only`` names the checks to run, if not all of them. Who runs them again and again gives the
    same ``patience`` each time: it knows which of them still hang.
    """
    from ovca.remaster.checks import brought

    context, patience = CheckContext(conf, database, version, retry, allow_downgrade), patience or Patience()
    results = []
    for name in configured(conf):
        if not only or name in only:
            build = partial(plugins.build, GROUP, name, context, api=Check.api)
            results.append(answer(name, build, patience))
    damaged = any(result.id == 'image' and result.result is Result.FAILED for result in results)
    return results + brought.run(context, only=only, damaged=damaged, patience=patience)


def answer(name: str, build: Callable[[], Check], patience: Patience) -> CheckResult:
    """What a check says; one that cannot be built or asked, or does not answer in time, has failed.

    What it says can be shown and kept: a terminal takes no control characters, a database no halves of characters.
    """
    found = _answer(name, build, patience)
    return replace(found, detail=shown(str(found.detail)), remedy=shown(str(found.remedy)))


def _answer(name: str, build: Callable[[], Check], patience: Patience) -> CheckResult:
    try:
        check = build()
        found = patience.call(name, check.check, check.patience())
    except NoAnswer as exc:
        return CheckResult(name, Result.FAILED, str(exc), HANGS)
    except OvcaError as exc:
        return CheckResult(name, Result.FAILED, exc.with_id, AGAIN)
    except OSError as exc:
        return CheckResult(name, Result.FAILED, str(exc), AGAIN)
    except Exception as exc:
        LOG.exception('check %s', name)
        return CheckResult(name, Result.FAILED, f'{type(exc).__name__}: {exc}', AGAIN)
    if not isinstance(found, CheckResult):
        return CheckResult(name, Result.FAILED, f'it answers {found!r}, which is no result', 'mend the check')
    if found.result is Result.SKIPPED and not found.detail.strip():
        return CheckResult(name, Result.FAILED, 'it was skipped, and does not say why', 'mend the check')
    return found


def failures(results: list[CheckResult]) -> list[str]:
    """The sentences of those that failed."""
    return [f'{r.id}: {r.detail}' for r in results if r.result is Result.FAILED]


def warnings(results: list[CheckResult], accepted: Collection[str] = ()) -> list[CheckResult]:
    """The warnings that nobody has accepted."""
    return [r for r in results if r.result is Result.WARNING and r.id not in accepted]


def retryable(update: Update) -> bool:
    """Whether a retry makes sense after this end."""
    return State(update.state) in (State.FAILED_DEGRADED, State.FAILED_ROLLED_BACK, State.FAILED_FORWARD)
