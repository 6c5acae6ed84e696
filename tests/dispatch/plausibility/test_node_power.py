"""The power of a compute node beside the load meter, which shows what its nodes take."""

from __future__ import annotations

from meter_rig import Site, a_meter

from dispatch.model import equipment
from dispatch.model.readings import Quality, Reading, reading
from dispatch.plausibility.bounds import Range
from dispatch.plausibility.node_power import NodeCheck

STEP_W = 3_000.0


class Node:
    """A node that is read each 0.2 s."""

    def __init__(self) -> None:
        self.check, self.mono_s = NodeCheck("gpu-01"), 0.0

    def show(self, w: float, room_w: float | None, ticks: int = 1) -> Reading:
        """It says `w` for as many ticks; what is believed at the last."""
        for _ in range(ticks):
            self.mono_s += 0.2
            figures = (w, self.mono_s)
            seen = self.check.check(
                reading(w), figures, Range(0.0, 40_000.0, "k"), STEP_W, room_w, self.mono_s, hold_s=5.0
            )
        return seen


def settled(room_w: float | None = 30_000.0) -> Node:
    node = Node()
    node.show(1_000.0, room_w, ticks=60)
    return node


def test_a_step_that_the_load_meter_does_not_show_is_not_believed() -> None:
    node = settled()
    for ticks in (1, 1, 20):
        seen = node.show(10_000.0, 30_000.0, ticks)
        assert (seen.value, seen.quality) == (1_000.0, Quality.SUSPECT)
    (doubt,) = node.check.power.rejected
    assert doubt.why.code == "doubt.unseen_load"
    assert node.show(10_000.0, 30_000.0, ticks=30).value is None
    assert node.show(1_000.0, 30_000.0).confirmed == 1_000.0


def test_it_is_taken_after_a_minute() -> None:
    node = settled()
    node.show(10_000.0, 30_000.0, ticks=290)
    assert node.check.power.doubted
    assert node.show(10_000.0, 30_000.0, ticks=20).confirmed == 10_000.0


def test_a_step_that_the_load_meter_shows_is_believed_at_the_second_sample() -> None:
    node = settled()
    assert node.show(10_000.0, 39_000.0).quality is Quality.SUSPECT
    assert node.show(10_000.0, 39_000.0).confirmed == 10_000.0


def test_the_load_meter_may_show_it_before_or_after() -> None:
    """A node's figure may be a mean of seconds; the meter may be late."""
    before, after = settled(), settled()
    before.show(1_000.0, 39_000.0, ticks=30)
    assert before.show(10_000.0, 39_000.0, ticks=2).confirmed == 10_000.0
    after.show(10_000.0, 30_000.0, ticks=10)
    assert after.show(10_000.0, 39_000.0).confirmed == 10_000.0
    assert not after.check.power.rejected


def test_without_a_load_meter_that_can_tell_the_second_sample_counts() -> None:
    node = settled(room_w=None)
    assert node.show(10_000.0, None, ticks=2).confirmed == 10_000.0


def test_a_step_down_is_believed_at_the_second_sample() -> None:
    """Another node may take over what this one gives up, so that the load stands still."""
    node = Node()
    node.show(10_000.0, 30_000.0, ticks=60)
    assert node.show(1_000.0, 30_000.0, ticks=2).confirmed == 1_000.0


class SlowNode(Node):
    """A node whose source measures every 30 s, and that is read each 2 s."""

    def show(self, w: float, room_w: float | None, ticks: int = 1) -> Reading:
        """It says `w` for as many readings; what is believed at the last."""
        for _ in range(ticks):
            self.mono_s += 2.0
            allowed = Range(0.0, 40_000.0, "k")
            seen = self.check.check(reading(w), (w,), allowed, STEP_W, room_w, self.mono_s, hold_s=5.0, period_s=30.0)
        return seen


def test_the_same_figure_of_a_slow_source_is_no_second_sample() -> None:
    node = SlowNode()
    node.show(1_000.0, None, ticks=30)
    assert node.show(10_000.0, None, ticks=10).confirmed is None
    assert node.show(10_100.0, None).confirmed == 10_100.0  # the next one of its own


def test_the_load_meter_may_have_shown_a_step_a_period_of_the_source_before() -> None:
    node = SlowNode()
    node.show(1_000.0, 30_000.0, ticks=30)
    node.show(1_000.0, 39_000.0, ticks=15)
    node.show(10_000.0, 39_000.0)
    assert node.show(10_100.0, 39_000.0).confirmed == 10_100.0


def test_what_the_load_meter_showed_long_ago_is_forgotten() -> None:
    node = settled()
    node.show(1_000.0, 30_000.0, ticks=3_000)
    assert len(node.check._room._samples) < 100


def test_nodes_that_are_gone_are_forgotten_and_new_ones_are_checked() -> None:
    """A list of nodes has changed: what it named once is not followed for ever."""
    site = Site().settle()
    for n in range(20):
        for _ in range(2):
            nodes = tuple(equipment.Node(id, w=reading(1_000.0)) for id in ("stays", f"n{n}"))
            site.show(a_meter(17_000.0, site.n), nodes=nodes)
    assert set(site.controller._plausibility._nodes) == {"stays", "n19"}
    odd = site.show(a_meter(17_000.0, site.n), nodes=(nodes[0], equipment.Node("n19", w=reading(1e9))))
    assert [node.w.quality for node in odd.nodes] == [Quality.GOOD, Quality.SUSPECT]
    assert any("n19" in text or "1000000.0 kW" in text for text in site.events)
