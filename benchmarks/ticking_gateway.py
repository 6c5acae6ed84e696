"""`skerry` with each tick's lateness written to a file: `python -m benchmarks.ticking_gateway FILE serve …`.

A line of the file is the monotonic time, s, and how late the tick was, ms. The gateway itself keeps quantiles only.
"""

from __future__ import annotations

import sys
import time

from gateway.run_statistics import Punctuality
from skerry.__main__ import main

if __name__ == "__main__":
    out = open(sys.argv.pop(1), "a", buffering=1, encoding="ascii")  # noqa: SIM115  until the process ends
    tick = Punctuality.tick

    def told(self: Punctuality, lateness_s: float) -> None:
        """As before, and put down."""
        tick(self, lateness_s)
        out.write(f"{time.monotonic()} {1000 * lateness_s}\n")

    Punctuality.tick = told  # type: ignore[method-assign]
    main()
