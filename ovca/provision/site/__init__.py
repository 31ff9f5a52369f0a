"""Site settings: what an operator set by hand on a node, saved before a wipe and put back after it."""

from __future__ import annotations
