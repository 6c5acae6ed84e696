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
        return self.switch(word, grid_hz, mode).source

    def switch(self, word: str, grid_hz: float, mode: str) -> Switch:
        """The switch as checked; without grid_hz its grid side has no voltage."""
        position = status("closed" if word == "grid" else "open")
        there = status("present" if grid_hz else "absent")
        hz, v = reading(grid_hz), reading(230.0 if grid_hz else 0.0)
        switch = Switch("pcc", position=position, grid_voltage=there, grid_v=v, grid_hz=hz, source=status(word))
        pcs = a_pcs(0.0, v=reading(230.0), mode=status(mode))
        return self.site.show(a_meter(17_000, self.site.n), switches=(switch,), pcs=(pcs,)).switches[0]


@pytest.mark.parametrize(("before", "after"), [("grid", "genset"), ("grid", "none"), ("genset", "none")])
def test_a_source_that_allows_less_acts_at_once(before: str, after: str) -> None:
    told = Told()
    assert [told(before).confirmed, told(before).confirmed, told(after).confirmed] == [before, before, after]


def test_one_sample_of_a_generator_on_a_grid_that_is_there_changes_nothing() -> None:
    """Found: it took an order to the generator's limits for a tick. The second is believed, and none is waited for
    where the grid is gone, a PCS noticed it, or no source was told before."""
    told = Told()
    for _ in range(3):
        told("grid", mode="grid_following")
    once = told.switch("genset", 50.01, "grid_following")
    assert [(word.good, word.doubted) for word in (once.source, once.position)] == [("grid", True), ("closed", True)]
    assert told.site.controller._plausibility.holds_back, "nothing is written meanwhile"
    back = told.switch("grid", 50.02, "grid_following")
    assert (back.source.confirmed, back.position.confirmed) == ("grid", "closed")
    told.switch("genset", 50.03, "grid_following")
    twice = told.switch("genset", 50.04, "grid_following")
    assert (twice.source.confirmed, twice.position.confirmed) == ("genset", "open")
    for hz, mode in ((0.0, "grid_following"), (50.0, "grid_forming")):
        told = Told()
        for _ in range(3):
            told("grid", mode="grid_following")
        at_once = told.switch("genset", hz, mode)
        assert (at_once.source.confirmed, at_once.position.confirmed) == ("genset", "open")


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


def test_a_live_bus_on_a_generator_contradicts_neither_an_open_contact_nor_a_dead_grid() -> None:
    told = Told()
    for _ in range(3):
        told("grid", mode="grid_following")
    found = told.switch("genset", 0.0, "grid_following")
    assert (found.position.confirmed, found.grid_voltage.confirmed) == ("open", "absent")
    assert found.grid_v.confirmed == 0.0
