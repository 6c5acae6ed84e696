"""Random outages in lock-step; each can be replayed from its seed: `ride(seed)`."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from outage_storm import Draw, Ride, Storm, covering, ride

from dispatch.islanding.load_shedding import LoadShedding
from dispatch.islanding.reconnection import Reconnection

pytestmark = pytest.mark.usefixtures("claims_judged")

RUNS = int(os.environ.get("SKERRY_SOAK_OUTAGES", "0"))
SEEDS = range(RUNS) if RUNS else covering(range(120))
PARTS = 3


@pytest.mark.timeout(max(300, len(SEEDS)))
@pytest.mark.parametrize("part", range(PARTS))
def test_no_outage_hurts_by_our_doing(part: int) -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS[part::PARTS]:
        result = ride(seed)
        seen.update(set(result.states))
        seen["closings"] += result.closings
    assert seen["islanded"] >= len(SEEDS) // PARTS * 0.7
    assert seen["synchronising"] > 0
    assert seen["closings"] > 0


def test_same_seed_same_ride() -> None:
    assert ride(11) == ride(11)


LONG = Draw(1, 30.0, 6.0, 15_000.0, 0.0, 0.0, 0.3, False, "permit", ((10.0, 1000.0, 0.0, 0.0),), None, 1020.0)
SAG = Draw(1, 90.0, 100.0, 15_000.0, 0.0, 0.0, 0.3, False, "permit", ((10.0, 90.0, 0.7, 50.0),), None, 200.0)


@functools.cache
def unbroken(drawn: Draw) -> Ride:
    return Storm(drawn).run()


def test_shutdown_is_finished_before_the_cut_off() -> None:
    result = unbroken(LONG)
    assert result.shut_down
    assert result.blackout_why in ("", "empty")


@pytest.mark.parametrize(
    ("drawn", "where", "name", "broken", "says"),
    [
        (SAG, Reconnection, "obstacle", lambda self, *_: None, "closing asked for"),
        (LONG, LoadShedding, "_shed_more", lambda self, now, drilling: None, "nodes still up at the cut-off"),
    ],
)
def test_the_storm_notices_a_broken_rule(
    monkeypatch: pytest.MonkeyPatch, drawn: Draw, where: type, name: str, broken: Callable[..., Any], says: str
) -> None:
    unbroken(drawn)
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(AssertionError, match=says):
        Storm(drawn).run()
