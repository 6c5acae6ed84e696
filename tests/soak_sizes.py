"""How often the tests that Hypothesis draws run: few in `make test`, many in `make soak`."""

from __future__ import annotations

import os


def examples(few: int, times: int = 40) -> int:
    """The number of examples; a long run has so many times as many. Mark the test `soak`, or no long run has it."""
    return few * times if os.environ.get("SKERRY_SOAK") else few
