"""A PCS that says that it is off and gives nothing, beside meters that show what it gives."""

from __future__ import annotations

import pytest
from meter_rig import Site, a_meter
from small_site import a_pcs

from dispatch.model.equipment import Meter, Pcs
from dispatch.model.readings import Quality, reading, status
from dispatch.model.snapshot import Snapshot


def a_load_meter(w: float, n: int) -> Meter:
    meter = a_meter(w, n)
    return Meter("load", w=meter.w, hz=meter.hz, v=meter.v, a=meter.a)


def show(site: Site, pcs: Pcs, grid_w: float, load_w: float) -> Snapshot:
    n = site.n
    noise_w = 10.0 * (n % 3)
    return site.show(a_meter(grid_w + noise_w, n), load=a_load_meter(load_w + noise_w, n), pcs=(pcs,))


def running(w: float) -> Pcs:
    return a_pcs(w, v=reading(230.0))


def a_site_that_discharges_12_kw() -> Site:
    """So that it keeps the contracted 30 kW. Its load meter has shown a step, and fits the others."""
    site = Site()
    for _ in range(200):
        show(site, running(0.0), 17_000, 17_000)
    for _ in range(200):
        show(site, running(12_000.0), 29_500, 41_500)
    return site


@pytest.mark.parametrize("word", ["off", "fault", "standby"])
def test_off_and_0_w_are_not_believed_while_both_meters_show_its_power(word: str) -> None:
    site = a_site_that_discharges_12_kw()
    off = a_pcs(0.0, v=reading(0.0), state=status(word), connection=status("disconnected"))
    for _ in range(15):
        seen = show(site, off, 29_500, 41_500).pcs[0].w
        assert (seen.value, seen.quality) == (12_000.0, Quality.SUSPECT)


def test_a_pcs_that_trips_is_believed_as_soon_as_the_grid_meter_shows_it() -> None:
    site = a_site_that_discharges_12_kw()
    off = a_pcs(0.0, v=reading(0.0), state=status("fault"), connection=status("disconnected"))
    show(site, off, 29_500, 41_500)  # the meter is late
    show(site, off, 41_500, 41_500)
    assert show(site, off, 41_500, 41_500).pcs[0].w.confirmed == 0.0


def test_without_a_load_meter_a_pcs_that_says_it_is_off_is_believed_at_once() -> None:
    site = Site()
    for _ in range(40):
        site.show(a_meter(5_000, site.n), pcs=(running(12_000.0),))
    off = a_pcs(0.0, state=status("off"), connection=status("disconnected"))
    site.show(a_meter(17_000, site.n), pcs=(off,))
    assert site.show(a_meter(17_000, site.n), pcs=(off,)).pcs[0].w.confirmed == 0.0
