"""The source that a switch tells: what narrows what may be done acts at once, the rest needs a second sample."""

from __future__ import annotations

import pytest
from meter_rig import Site, a_meter
from small_site import a_pcs

from dispatch.model.equipment import Switch
from dispatch.model.readings import Status, reading, status


class Told:
    """A site whose switch tells a source at each tick."""

    def __init__(self) -> None:
        self.site = Site()

    def __call__(self, word: str, grid_hz: float = 50.0, mode: str = "grid_forming") -> Status:
        position = status("closed" if word == "grid" else "open")
        switch = Switch("pcc", position=position, grid_hz=reading(grid_hz), source=status(word))
        pcs = a_pcs(0.0, v=reading(230.0), mode=status(mode))
        return self.site.show(a_meter(17_000, self.site.n), switches=(switch,), pcs=(pcs,)).switches[0].source


@pytest.mark.parametrize(("before", "after"), [("grid", "genset"), ("grid", "none"), ("genset", "none")])
def test_a_source_that_allows_less_acts_at_once(before: str, after: str) -> None:
    told = Told()
    assert [told(before).confirmed, told(before).confirmed, told(after).confirmed] == [before, before, after]


@pytest.mark.parametrize(("before", "after"), [("genset", "grid"), ("none", "grid"), ("none", "genset")])
def test_a_source_that_allows_more_needs_a_second_sample(before: str, after: str) -> None:
    told = Told()
    told(before)
    first = told(after, 50.01)
    assert (first.good, first.doubted) == (before, True)
    assert told(after, 50.02).confirmed == after


def test_a_pcs_that_follows_shows_a_generator_and_contradicts_no_source() -> None:
    told = Told()
    assert told("none").good == "none"
    assert told("genset", mode="grid_following").confirmed == "genset"
    held = told("none", mode="grid_following")
    assert (held.good, held.doubted) == ("genset", True)
    for _ in range(27):  # who says so for more than 5 s is believed
        held = told("none", mode="grid_following")
    assert held.confirmed == "none"
