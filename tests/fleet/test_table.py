"""The worst first; sums only of what is fresh; nothing that is missing counts as 0."""

from __future__ import annotations

from typing import Any

import pytest
from fleet_samples import LOST, OUTAGE, identity, site

from dispatch.model.readings import MISSING, Quality, Reading
from fleet.sites import SiteAddress
from fleet.table import ORDERS, Row, matches, ordered, rows_of, sums_of
from fleet.watch import SiteState
from gateway.api.site_overview import SiteOverview

NOW_S = 500.0


def state(name: str, found: SiteOverview | None, age_s: float | None = 1.0, **changes: Any) -> SiteState:
    received = None if age_s is None else NOW_S - age_s
    return SiteState(SiteAddress(name, tags=changes.pop("tags", ())), found, received, **changes)


FLEET = [
    state("calm", site(1)),
    state("waits", None, None),
    state("lost-device", site(2, alarms=(LOST,)), tags=("north",)),
    state("outage", site(3, alarms=(OUTAGE, LOST))),
    state("silent", site(4), 60.0),
    state("never", None, None, tries=2, trouble="Host key verification failed."),
    state("island", site(5, island="islanded")),
    state("blackout", site(6, island="blackout")),
]


def test_the_worst_first() -> None:
    assert [row.name for row in rows_of(FLEET, NOW_S)] == [
        *("blackout", "outage", "never", "silent", "island", "lost-device", "waits", "calm"),
    ]


def test_a_site_is_silent_after_three_questions_without_an_answer() -> None:
    ages = {age: rows_of([state("a", site(1), age)], NOW_S)[0].link for age in (0.0, 15.0, 15.1)}
    assert ages == {0.0: "live", 15.0: "live", 15.1: "silent"}


def test_sums_count_sites_that_answer_and_say_how_many_have_the_figure() -> None:
    sums = sums_of(rows_of([*FLEET, state("blind", site(7, import_w=MISSING, energy_kwh=None, load_w=None))], NOW_S))
    assert (sums.sites, sums.live, sums.silent) == (9, 6, 2)
    assert (sums.import_w.value, sums.import_w.sites) == (5 * 10_000.0 + 1 + 2 + 3 + 5 + 6, 5)
    assert (sums.stored_kwh.value, sums.stored_kwh.sites) == (250.0, 5)
    assert (sums.cost_today_eur.value, sums.jobs_running.value) == (120.0, 18)
    assert sums.alarms == {"device-lost": 2, "grid-outage": 1}
    assert sums_of(()).import_w.value is None
    stale = site(8, import_w=Reading(5.0, 9.0, Quality.STALE))
    assert sums_of(rows_of([state("a", stale)], NOW_S)).import_w.value is None


def test_two_addresses_of_one_site_are_told_and_count_once() -> None:
    rows = rows_of([state("a", site(1)), state("b", site(1)), state("c", site(2))], NOW_S)
    told = {row.name: row.trouble for row in rows}
    assert told["a"] == "the same site as b: listed twice, or a copy of its state directory"
    assert (told["b"], told["c"]) == (told["a"].replace("b:", "a:"), "")
    assert sums_of(rows).import_w.sites == 2
    assert identity(1) != identity(2)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_lists_every_site_and_what_is_not_known_last(order: str) -> None:
    rows = ordered(rows_of(FLEET, NOW_S), order)
    assert len(rows) == len(FLEET)
    if order not in ("worst", "name"):
        assert {row.name for row in rows[-2:]} == {"waits", "never"}


def test_a_filter_finds_names_tags_links_and_what_is_shown() -> None:
    def shown(row: Row) -> str:
        return "Grid lost" if row.name == "outage" else ""

    def names(text: str) -> list[str]:
        return [row.name for row in rows_of(FLEET, NOW_S) if matches(row, text, shown)]

    assert names("north") == ["lost-device"]
    assert names("GRID lost") == ["outage"]
    assert names("silent") == ["never", "silent"]
    assert names("host key") == ["never"]
    assert len(names("")) == len(FLEET)
    assert names("north grid") == []
