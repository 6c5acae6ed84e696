"""GPU-hours lost under caps: by what a GPU drew before and draws at its limit."""

from __future__ import annotations

import pytest

from dispatch.accounting.capped_gpus import CappedGpus, shares
from dispatch.model.equipment import Gpu
from dispatch.model.readings import reading
from dispatch.power_caps.throughput import Curve


def gpu(n: int, w: float | None, limit_w: float | None = 280.0) -> Gpu:
    return Gpu(n, "A100", w=reading(w), uuid=f"GPU-{n}", enforced_w=reading(limit_w))


def test_a_gpu_at_its_limit_loses_by_what_it_drew_before() -> None:
    node = CappedGpus()
    for _ in range(10):
        assert node.take([gpu(0, 400.0, 700.0), gpu(1, 60.0, 700.0)], 60.0, capped=False) == ()
    capped = [gpu(0, 280.0), gpu(1, 60.0)]
    ((uuid, lost),) = node.take(capped, 1800.0, capped=True)
    assert (uuid, lost) == ("GPU-0", pytest.approx(0.11 / 2)), "half an hour; the other one is idle"
    assert node.take([gpu(0, 200.0)], 1800.0, capped=True) == (), "below its limit: its job has less to do"
    assert node.take([gpu(0, 280.0, None)], 1800.0, capped=True) == (), "not known"
    assert node.take([gpu(0, None)], 1800.0, capped=True) == ()


def test_a_gpu_that_was_never_seen_without_a_cap_loses_nothing_that_is_known() -> None:
    assert CappedGpus().take([gpu(0, 280.0)], 3600.0, capped=True) == ()


def test_the_power_before_follows_over_a_minute_and_the_curve_is_the_nodes() -> None:
    node = CappedGpus(Curve(((0.5, 0.9), (1.0, 1.0))))
    node.take([gpu(0, 100.0, 700.0)], 10.0, capped=False)
    node.take([gpu(0, 400.0, 700.0)], 30.0, capped=False)
    ((_, lost),) = node.take([gpu(0, 200.0, 200.0)], 3600.0, capped=True)
    assert lost == pytest.approx(0.2 * (1 - 200 / 250))


def test_what_a_gpu_lost_goes_to_the_job_that_has_it_else_by_energy() -> None:
    owned, unknown = frozenset({"a"}), frozenset[str]()
    assert shares([("a", 1.0), ("b", 3.0)], [owned, unknown, unknown], [9.0, 2.0, 1.0]) == [1.0, 2.0, 1.0]
    assert shares([("b", 3.0)], [owned], [9.0]) == [0.0], "nobody's"
