"""Pages of events: all of a time are found, whatever the page and whoever sends what was not asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from console.cli.events import MOST, PAGE, Wanted, _found
from dispatch.model.events import Event


class Log:
    """A log of one event a second, five of them at each tenth second; `early`: a gateway that knows no filters."""

    def __init__(self, seconds: int, early: bool) -> None:
        self._events = [
            Event(float(s), "device" if s % 2 else "plan", "info", f"e{s}.{n}", "")
            for s in range(seconds)
            for n in range(1 if s % 10 else 5)
        ]
        self._early, self.asked = early, 0

    def events(
        self, limit: int, since_utc_s: float | None, before_utc_s: float | None, kinds: Sequence[str]
    ) -> list[Event]:
        self.asked += 1
        found = [e for e in self._events if before_utc_s is None or e.utc_s < before_utc_s]
        if not self._early:
            found = [e for e in found if since_utc_s is None or e.utc_s >= since_utc_s]
            found = [e for e in found if not kinds or e.kind in kinds]
        return sorted(found, key=lambda e: -e.utc_s)[:limit]


@pytest.mark.parametrize("early", [False, True])
def test_all_of_a_time_over_several_pages(early: bool) -> None:
    log: Any = Log(3000, early)
    found = _found(log, Wanted(since_utc_s=500.0, until_utc_s=2500.0), MOST)
    assert len({e.subject for e in found}) == len(found) == 2000 + 4 * 200
    assert (min(e.utc_s for e in found), max(e.utc_s for e in found)) == (500.0, 2499.0)
    plan = _found(log, Wanted(kinds=("plan",)), 700)
    assert {e.kind for e in plan} == {"plan"}
    assert len(plan) == 700
    assert log.asked < 20 + 2 * 3800 / PAGE


def test_more_at_one_time_than_a_page_ends() -> None:
    log: Any = Log(0, early=False)
    log._events = [Event(7.0, "plan", "info", str(n), "") for n in range(2 * PAGE)]
    assert len(_found(log, Wanted(), MOST)) == PAGE
