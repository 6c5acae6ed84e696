"""Begins the work of a writer's thread again after a mistake of ours: one row that nobody foresaw ends no record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LONGEST_WAIT_S = 60.0  # work that went well for longer is begun again at once, as at first


def keep_working(
    name: str,
    work: Callable[[], None],
    failed: Callable[[Exception], None],
    wait: Callable[[float], object],
    first_wait_s: float,
    log: logging.Logger,
) -> None:
    """Do `work` until it returns. After an exception: `failed`, then `wait` for twice as long each time."""
    wait_s = first_wait_s
    while True:
        began_s = time.monotonic()
        try:
            return work()
        except Exception as error:
            log.exception("the %s's thread failed, begun again in %g s", name, wait_s)
            failed(error)
        wait_s = first_wait_s if time.monotonic() - began_s > LONGEST_WAIT_S else wait_s
        wait(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
