"""What is said of an order before it is given, against what then happens on the twin.

Said of a load that stays: within 1 % of the contract for the mean of an interval to whose end it lasts, 0.2 points of
SoC, 0.1 kWh of import and of the battery's energy, 5 s for the moment at which the contract is broken.
"""

from __future__ import annotations

import msgspec
import pytest
from outage_storm import Draw, Storm

from dispatch.control.controller import Controller
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.metering_interval import Interval
from dispatch.model.orders import Order, OrderKind
from dispatch.model.snapshot import Snapshot
from dispatch.planning.consequence_words import told
from dispatch.planning.order_consequence import Consequence, SiteNow, consequence
from dispatch.wording.catalogue import words

# No sun, 45 kW of load, a contract of 60 kW and intervals of 5 min from 12:00 on.
CALM = Draw(1, 60.0, 100.0, 45_000.0, 0.0, 0.0, 0.3, False, "permit", (), None, 0.0)
TICK_S = 1.0


class Site:
    """The twin under orders, and what its meters counted."""

    def __init__(self) -> None:
        self.storm = Storm(CALM)
        grid = msgspec.structs.replace(self.storm.config.grid, metering_interval_s=300)
        self.storm.config = msgspec.structs.replace(self.storm.config, grid=grid)
        self.storm.controller = Controller(self.storm.config)
        self.seq, self.import_wh, self.battery_wh = 0, 0.0, 0.0
        self.snapshot: Snapshot
        self.over_utc_s: float | None = None  # when the energy of an interval passed what the contract allows
        self.means: dict[float, float] = {}
        self.run(60)

    def run(self, seconds: int, *orders: Order) -> None:
        for _ in range(seconds):
            self.seq += 1
            self.storm.lockstep.advance(TICK_S)
            self.snapshot = self.storm.lockstep.snapshot(self.seq)
            decision = self.storm.controller.step(self.snapshot, None, orders=orders)
            self.storm.lockstep.apply(decision)
            self.import_wh += max(self.snapshot.grid.w.value or 0.0, 0.0) * TICK_S / 3600
            self.battery_wh += (self.snapshot.pcs_w or 0.0) * TICK_S / 3600
            interval = self.interval
            self.means[interval.start_utc_s] = interval.energy_wh * 3600 / interval.length_s
            if interval.energy_wh * 3600 > 60_000.0 * interval.length_s and self.over_utc_s is None:
                self.over_utc_s = self.snapshot.utc_s

    @property
    def interval(self) -> Interval:
        found = self.storm.controller.interval
        assert found is not None
        return found

    @property
    def soc_pct(self) -> float:
        found = BatteryBank(self.storm.config, self.snapshot).soc_pct
        assert found is not None
        return found

    def order(self, kind: OrderKind, value: float, seconds: float) -> Order:
        now = self.snapshot
        ends = (now.utc_s + seconds, now.mono_s + seconds)
        return Order("o1", kind, value, "", "ada", "a test", now.utc_s, *ends)

    def said(self, order: Order) -> Consequence:
        net_w = self.snapshot.net_load_w
        assert net_w is not None
        site = SiteNow(
            config=self.storm.config,
            utc_s=self.snapshot.utc_s,
            net_w=net_w,
            soc_pct=self.soc_pct,
            interval=self.interval,
            free_w=self.storm.controller.month_peak_w,
            price_eur_per_kwh=0.25,
        )
        found = consequence(site, order)
        assert found is not None
        return found


@pytest.mark.parametrize(
    ("kind", "value", "seconds", "breaks"),
    [
        (OrderKind.SETPOINT, 20_000.0, 240, False),  # to the end of the interval
        (OrderKind.SETPOINT, -40_000.0, 240, True),
        (OrderKind.IMPORT_TARGET, 30_000.0, 60, False),
    ],
)
def test_what_is_said_of_an_order_comes_true(kind: OrderKind, value: float, seconds: int, breaks: bool) -> None:
    site = Site()
    order = site.order(kind, value, seconds)
    said = site.said(order)
    first, before_wh, battery_wh = said.intervals[0], site.import_wh, site.battery_wh
    site.run(seconds, order)
    assert site.soc_pct == pytest.approx(said.soc_pct, abs=0.2)
    assert site.battery_wh - battery_wh == pytest.approx(said.battery_wh, abs=100)
    more_wh = site.import_wh - before_wh - 45_000.0 * seconds / 3600
    assert more_wh == pytest.approx(said.import_wh, abs=100)
    if order.ends_utc_s >= first.end_utc_s:
        assert site.means[first.start_utc_s] == pytest.approx(first.mean_w, abs=600)
    lines = [words(line) for line in told(said, site.storm.config)]
    assert (said.broken is not None) is breaks
    if said.broken is None:
        assert lines[3] == "contract 60.0 kW kept"
        assert site.over_utc_s is None
    else:
        assert lines[3].startswith("CONTRACT BROKEN at 12:04 by 17.0 kW")
        assert site.over_utc_s == pytest.approx(said.broken.exceeds_utc_s, abs=5)


def test_the_words_name_kilowatts_kilowatt_hours_and_euros() -> None:
    site = Site()
    lines = [words(line) for line in told(site.said(site.order(OrderKind.SETPOINT, 20e3, 120)), site.storm.config)]
    assert lines[0] == "until 12:03 gives 0.7 kWh, SoC 60.0 → 59.3 %; import 0.7 kWh less, -0.17 EUR"
    assert lines[1] == "interval of 12:00: mean 37.0 kW, at rest after it unless the limit binds"
    assert lines[2] == "month's peak does not rise"
    assert max(map(len, lines)) <= 78, "a row of the form"


def test_of_an_order_on_something_else_nothing_is_reckoned() -> None:
    site = Site()
    order = msgspec.structs.replace(site.order(OrderKind.RESERVE_LEVEL, 30.0, 300))
    now = SiteNow(
        config=site.storm.config, utc_s=site.snapshot.utc_s, net_w=45_000.0, soc_pct=50.0, interval=site.interval,
        free_w=0.0,
    )  # fmt: skip
    assert consequence(now, order) is None
