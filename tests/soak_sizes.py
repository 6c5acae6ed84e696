"""How often tests that Hypothesis draws run: few in `make test`, many in `make soak`; what only the latter tries."""

from __future__ import annotations

import os
from typing import Any

import pytest


def examples(few: int, times: int = 40) -> int:
    """The number of examples; a long run has so many times as many. Mark the test `soak`, or no long run has it."""
    return few * times if os.environ.get("SKERRY_SOAK") else few


def long_only(*values: Any) -> Any:
    """A set of parameters that only `make soak` tries; others of the same test run always."""
    skipped = pytest.mark.skipif(not os.environ.get("SKERRY_SOAK"), reason="make soak; others of this test run always")
    return pytest.param(*values, marks=(pytest.mark.soak, skipped))
