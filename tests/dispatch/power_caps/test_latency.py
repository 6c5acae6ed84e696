"""How long a cap takes to show is learnt from what the node draws, and only from caps that it drew more than."""

from __future__ import annotations

import msgspec
from small_site import a_snapshot

from dispatch.model.equipment import Node
from dispatch.model.power_caps import NodeCap
from dispatch.model.readings import Quality, Reading, reading
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.latency import KEPT, LONGEST_S, CapLatencies


def drawing(t_s: float, w: float | None) -> Snapshot:
    return msgspec.structs.replace(a_snapshot(t_s), nodes=(Node("n", w=reading(w)), Node("other", w=reading(9e3))))


def capped(latencies: CapLatencies, cap_w: float, *draws: tuple[float, float | None]) -> NodeCap:
    """What is known after these (s, W)."""
    for t_s, w in draws:
        (found,) = latencies.update(drawing(t_s, w), {"n": cap_w})
    return found


def test_the_time_from_the_order_until_the_power_has_come_down() -> None:
    latencies = CapLatencies()
    assert latencies.update(drawing(0.0, 2_000.0), {}) == ()
    found = capped(latencies, 1_000.0, (1.0, 2_000.0), (2.0, 1_900.0), (5.0, None), (7.0, 1_050.0), (60.0, 900.0))
    assert found == NodeCap("n", 1_000.0, 6.0, 6.0, 1)
    latencies.update(drawing(61.0, 2_000.0), {})
    found = capped(latencies, 1_000.0, (100.0, 2_000.0), (110.0, 1_000.0))
    assert (found.typical_s, found.longest_s, found.seen) == (8.0, 10.0, 2)


def test_a_cap_above_what_is_drawn_or_that_is_eased_or_never_followed_teaches_nothing() -> None:
    latencies = CapLatencies()
    assert capped(latencies, 1_000.0, (0.0, 800.0), (5.0, 1_300.0), (9.0, 900.0)).seen == 0
    latencies.update(drawing(10.0, 2_000.0), {})
    found = capped(latencies, 1_000.0, (11.0, 2_000.0), (12.0 + LONGEST_S, 2_000.0), (20.0 + LONGEST_S, 900.0))
    assert (found.typical_s, found.longest_s, found.seen) == (None, None, 0)
    assert capped(latencies, 1_500.0, (900.0, 2_000.0), (905.0, 1_400.0)).seen == 0, "it was eased"
    stale = Node("n", w=Reading(2_000.0, 90.0, Quality.STALE))
    old = msgspec.structs.replace(a_snapshot(910.0), nodes=(stale,))
    latencies.update(old, {"n": 700.0})
    assert capped(latencies, 700.0, (915.0, 600.0)).seen == 0, "what it drew was not known"


def test_the_last_caps_count() -> None:
    latencies = CapLatencies()
    for n in range(KEPT + 3):
        t_s = 100.0 * n
        latencies.update(drawing(t_s, 2_000.0), {})
        found = capped(latencies, 1_000.0, (t_s + 1.0, 2_000.0), (t_s + 2.0 + n, 900.0))
    assert (found.seen, found.longest_s, found.typical_s) == (KEPT, KEPT + 3.0, 8.0)


def test_a_power_from_before_the_order_does_not_tell_whether_a_cap_is_followed() -> None:
    latencies = CapLatencies()
    for t_s, age_s, measured in ((0.0, 0.0, False), (20.0, 30.0, False), (30.0, 29.0, True), (40.0, 39.0, True)):
        node = Node("n", w=Reading(2_000.0, age_s, Quality.GOOD))
        latencies.update(msgspec.structs.replace(a_snapshot(t_s), nodes=(node,)), {"n": 1_000.0})
        assert latencies.measured == ({"n"} if measured else set())
    latencies.update(drawing(50.0, 900.0), {})
    assert latencies.measured == set()
