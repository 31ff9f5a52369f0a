"""Tables that fit a screen: people get the columns that they read, scripts and ``-c`` get all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def wanted(parsed_args: argparse.Namespace) -> bool:
    """Whether a person looks at the table, and has not chosen its columns."""
    chosen = parsed_args.columns or parsed_args.sort_columns
    return parsed_args.formatter == 'table' and not chosen


def columns(parsed_args: argparse.Namespace, names: Sequence[str], *, without: Sequence[str]) -> list[str]:
    """The names, in a table that a person looks at without some of them."""
    return [name for name in names if name not in without] if wanted(parsed_args) else list(names)
