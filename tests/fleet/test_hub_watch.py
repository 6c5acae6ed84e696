"""What the screen knows of sites by the bus: ages, clocks, names, what cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fleet_samples import NOW_S, identity, site
from waiting import LIMIT_S, until

from fleet import bus_messages
from fleet.bus import BusFailed
from fleet.hub_watch import HubWatch
from fleet.sites import SiteAddress
from fleet.table import LIVE, SILENT, rows_of

ONE, OTHER = (identity(number).site for number in (1, 2))


class Values:
    """A bus with these values: key, age, bytes."""

    def __init__(self, *values: tuple[str, float, bytes]) -> None:
        self.values = values
        self.closed = False
        self.hear: Callable[[str, float, bytes], None] = lambda key, age_s, data: None

    async def follow_all(self, bucket: str, heard: Callable[[str, float, bytes], None]) -> None:
        assert bucket == bus_messages.NOW
        self.hear = heard
        for value in self.values:
            heard(*value)

    async def close(self) -> None:
        self.closed = True


def packed(number: int, **changes: Any) -> bytes:
    return bus_messages.packed(site(number, **changes))


async def test_ages_clocks_and_names() -> None:
    now_s = 100.0
    bus = Values((ONE, 3.0, packed(1, site="Fjord")), (OTHER, 60.0, packed(2, site="Delta", utc_s=NOW_S - 260)))
    fjord = SiteAddress("Fjord", host="ops@fjord", tags=("north",))

    async def open_bus() -> Values:
        return bus

    watch = HubWatch(open_bus, {"Fjord": fjord}, monotonic=lambda: now_s, utc=lambda: NOW_S + 3)
    watch.start()
    await watch.all_looked(LIMIT_S)
    rows = {row.name: row for row in rows_of(watch.states, now_s)}
    assert (rows["Fjord"].link, rows["Fjord"].age_s, rows["Fjord"].address) == (LIVE, 3.0, fjord)
    assert (rows["Delta"].link, rows["Delta"].age_s, rows["Delta"].address.host) == (SILENT, 60.0, "")
    assert rows["Delta"].trouble == "its clock is 3.4 min behind"
    bus.hear(ONE, 0.0, packed(1, site="Fjord", load_w=7.0))
    bus.hear(ONE, 9.0, packed(1, site="Fjord", load_w=8.0))
    assert loads(watch)[0] == 7.0, "an older one takes the place of none"
    bus.hear(OTHER, 0.0, b"nothing")
    bus.hear("a third", 0.0, b"nothing")
    assert [state.trouble.partition(":")[0] for state in watch.states] == ["", "what it says cannot be read"]
    bus.hear(OTHER, 0.0, packed(2, site="Fjord"))
    assert [state.address.name for state in watch.states] == ["Fjord", f"Fjord ({OTHER[:8]})"]
    await watch.stop()
    assert bus.closed


def loads(watch: HubWatch) -> list[float | None]:
    return [state.overview.load_w for state in watch.states if state.overview is not None]


async def test_a_bus_that_is_away_is_told_and_tried_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("fleet.hub_watch.LEAST_PAUSE_S", 0.01)
    tries: list[None] = []

    async def open_bus() -> Values:
        tries.append(None)
        if len(tries) < 3:
            raise BusFailed("it is away")
        return Values((ONE, 0.0, packed(1)))

    watch = HubWatch(open_bus, {})
    watch.start()
    await watch.all_looked(LIMIT_S)
    assert (watch.trouble, watch.states) == ("it is away", ())
    await until(lambda: watch.states)
    assert watch.trouble == ""
    await asyncio.wait_for(watch.stop(), LIMIT_S)
