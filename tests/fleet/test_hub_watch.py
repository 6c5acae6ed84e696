"""What the screen knows of sites by the bus: ages, clocks, names, what cannot be read."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
from fleet_samples import NOW_S, identity, site
from waiting import LIMIT_S, until

from console.tui.fleet_page import FleetPage
from fleet import bus_messages
from fleet.bus import BusFailed
from fleet.hub_watch import HubWatch
from fleet.site_text import one_line
from fleet.sites import SiteAddress
from fleet.table import LIVE, SILENT, Total, rows_of, sums_of
from fleet.watch import sound
from storage.identity import Identity

ONE, OTHER = (identity(number).site for number in (1, 2))


class Values:
    """A bus with these values: key, age, bytes."""

    def __init__(self, *values: tuple[str, float, bytes]) -> None:
        self.values = values
        self.closed, self.broken = False, False
        self.hear: Callable[[str, float, bytes], None] = lambda key, age_s, data: None

    async def follow_all(self, bucket: str, heard: Callable[[str, float, bytes], None]) -> None:
        assert bucket == bus_messages.NOW
        self.hear = heard
        for value in self.values:
            heard(*value)

    def check(self) -> None:
        if self.broken:
            raise BusFailed("it is broken")

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
    bus.hear(ONE, 0.0, packed(1, site="Fjord"))
    names = [f"Fjord ({uuid[:8]})" for uuid in (ONE, OTHER)]
    assert [state.address.name for state in watch.states] == names, "none poses as the other"
    await watch.stop()
    assert bus.closed


def loads(watch: HubWatch) -> list[float | None]:
    return [state.overview.load_w for state in watch.states if state.overview is not None]


async def test_a_bus_that_is_away_is_told_and_tried_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("fleet.hub_watch.LEAST_PAUSE_S", 0.01)
    monkeypatch.setattr("fleet.hub_watch.LOOK_S", 0.01)
    tries: list[str] = []
    bus = Values((ONE, 0.0, packed(1)))

    async def open_bus() -> Values:
        tries.append(watch.trouble)
        if len(tries) < 3:
            raise BusFailed("it is away")
        bus.broken = False
        return bus

    watch = HubWatch(open_bus, {})
    watch.start()
    await watch.all_looked(LIMIT_S)
    assert (watch.trouble, watch.states) == ("it is away", ())
    await until(lambda: watch.states)
    assert watch.trouble == ""
    bus.broken = True
    await until(lambda: len(tries) == 4 and not watch.trouble)
    page = FleetPage()
    page.show((), "it is broken")
    lines = page.painted(80, 24).lines()
    assert lines[0].strip() == "No figures come: the bus does not answer"
    assert lines[1].strip() == "it is broken"
    assert tries[-1] == "it is broken", "and no site is to blame"
    await asyncio.wait_for(watch.stop(), LIMIT_S)


async def test_a_site_spoils_its_own_row_only() -> None:
    """The identity of another site, a packed value of many times its size, texts that no database takes."""
    packet = packed(1, load_w=5.0)
    third = identity(3).site
    bus = Values((ONE, 0.0, packet), (OTHER, 0.0, packet), (third, 0.0, zlib.compress(bytes(1 << 20))))

    async def open_bus() -> Values:
        return bus

    watch = HubWatch(open_bus, {}, monotonic=lambda: 100.0, utc=lambda: NOW_S)
    watch.start()
    await watch.all_looked(LIMIT_S)
    await watch.stop()
    rows = {row.address.name: row for row in rows_of(watch.states, 100.0)}
    assert [rows[name].link for name in (OTHER, third)] == [SILENT, SILENT], "a site that is heard of has a row"
    assert "it has the identity of another site" in rows[OTHER].trouble
    assert "of more than 256 KiB" in rows[third].trouble
    assert (sums := sums_of(tuple(rows.values()))).load_w == Total(5.0, 1), sums
    odd = msgspec.structs.replace(identity(1), incarnation="a\0b", public_key="\x1b[31m" * 99)
    assert sound(site(1, identity=odd)).identity == Identity(ONE, "a b", one_line("\x1b[31m" * 99), identity(1).kept)
