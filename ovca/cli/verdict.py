"""Commands that show what they found, and then fail if it is not good: in every format with the same exit status."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ovca.exceptions import OvcaError


class Verdict:
    """Named before ``Lister`` or ``ShowOne``: ``take_action`` sets :attr:`verdict`, which is raised at the end."""

    verdict: OvcaError | None = None

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Show all that was found. :raises OvcaError: the verdict."""
        code: int = super().produce_output(parsed_args, column_names, data)  # type: ignore[misc]
        if self.verdict is not None:
            raise self.verdict
        return code
