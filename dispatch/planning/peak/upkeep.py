"""Works out what holding a peak costs on days like those seen: energy kept for pulses, room to charge that is missing.

A plan sees a day and a half. What a low peak costs shows over the whole month: beside a load that is close to it the
battery cannot recharge, so it earns nothing on prices, and is empty when the next pulse comes. So for each finished
day the cheapest use of the battery by hindsight is found under each of many limits on import (dynamic program over the
stored energy, backwards through the day, on its prices and its net load). What the day cost more than without a limit
is its upkeep of that peak. By hindsight the best peak of a month is the one at which the upkeep of all its days falls
by the demand price for a kW more. Nobody has hindsight: as much energy as pulses took is kept on the other days, too,
and earns nothing on these.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from dispatch.billing.battery_ageing import full_cycle_eur_per_kwh
from dispatch.billing.charges.energy_prices import EnergyPrices, energy_prices, uses_market
from dispatch.billing.market_prices import PriceSeries, published
from dispatch.config.battery_ratings import full_kwh, mean_efficiency, reserve_soc_pct, wear_eur_per_kwh
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DAY = 96
DAYS = 14  # remembered: those of the outlook
LEVELS = 81  # peaks up to the fuse
STORED = 16  # energies between the reserve and full that are tried
PARTS = 5  # powers between the lowest and the highest possible
AT_ANY_PRICE = 10.0  # EUR per kWh above a limit: more than any energy costs
TRADED = 8  # quarter hours, the cheapest and the dearest of a day, in which kept energy would have been traded


class Upkeep(NamedTuple):
    """What holding each peak costs on a day, EUR, mean of the days seen."""

    peaks_kw: Floats
    eur: Floats

    def eur_at(self, peaks_kw: Floats) -> Floats:
        """Of other peaks, EUR a day."""
        import numpy as np

        found: Floats = np.interp(peaks_kw, self.peaks_kw, self.eur)
        return found

    def eur_per_kw_at(self, peaks_kw: Floats) -> Floats:
        """What a kW more spares a day at these peaks, EUR."""
        import numpy as np

        found: Floats = np.interp(peaks_kw, self.peaks_kw, -np.gradient(self.eur, self.peaks_kw))
        return found


def no_upkeep() -> Upkeep:
    """That of a site of which no day is known."""
    import numpy as np

    return Upkeep(np.array([0.0, 1.0]), np.zeros(2))


class UpkeepBook:
    """Feed it the net load of each quarter hour in order; ask it before each plan. A day that has a gap is left out."""

    def __init__(self, config: DispatchConfig) -> None:
        import numpy as np

        self._config = config
        self._reserve_kwh = reserve_soc_pct(config) / 100 * config.energy_kwh
        self._usable_kwh = max(0.0, full_kwh(config) - self._reserve_kwh)
        self._levels_kw: Floats = np.linspace(0.0, config.grid.fuse_w / 1000, LEVELS)
        self._export_kw = max(0.0, config.grid.export_limit_w - config.grid.export_margin_w) / 1000
        self._running: list[tuple[float, bool]] = []  # net load, kW, and whether it counts towards the peak
        self._next = 0  # the quarter hour after the last one
        self._waiting: deque[tuple[int, list[tuple[float, bool]]]] = deque(maxlen=DAYS)  # their prices are not known
        self._tried: PriceSeries | None = None
        self._days_eur: deque[Floats] = deque(maxlen=DAYS)
        self._mean: Upkeep | None = None

    def observe(self, quarter: int, net_kw: float, counts: bool) -> None:
        """Take the mean net load of a quarter hour, numbered from 1970."""
        place = quarter % DAY
        if place == 0 or quarter != self._next:
            self._running = []
        self._next = quarter + 1
        if place != len(self._running):
            return
        self._running.append((net_kw, counts))
        if place == DAY - 1:
            self._waiting.append((quarter - place, self._running))
            self._tried = None

    def ask(self, prices: PriceSeries) -> Upkeep:
        """The mean of the days seen; of none, nothing. A day of which `prices` has gaps waits for others."""
        import numpy as np

        if self._tried is not prices and self._usable_kwh > 0:
            self._tried = prices
            for _ in range(len(self._waiting)):
                first, day = self._waiting.popleft()
                priced = self._priced(first, prices)
                if priced is None:
                    self._waiting.append((first, day))
                else:
                    self._days_eur.append(self._upkeep_eur(day, priced))
                    self._mean = None
        if self._mean is None and self._days_eur:
            self._mean = Upkeep(self._levels_kw, np.mean(self._days_eur, axis=0))
        return self._mean or no_upkeep()

    def _priced(self, first: int, prices: PriceSeries) -> EnergyPrices | None:
        """What a kWh cost and earned in each quarter hour of a day, EUR; None where one is not known."""
        tariff, instants = self._config.tariff, [QUARTER_S * (first + k) for k in range(DAY)]
        if not uses_market(tariff):
            return energy_prices(tariff, self._config.timezone, instants)
        market = [price for price in (published(prices, t) for t in instants) if price is not None]
        return energy_prices(tariff, self._config.timezone, instants, market) if len(market) == DAY else None

    def _upkeep_eur(self, day: list[tuple[float, bool]], prices: EnergyPrices) -> Floats:
        """What one day costs more under each limit than without one, EUR, energy and wear; what import is above the
        limit, because nothing could hold it, is avoided at any price and not counted.
        """
        import numpy as np

        config, hours = self._config, QUARTER_S / 3600
        charging, discharging = mean_efficiency(config)
        wear, aged = wear_eur_per_kwh(config), full_cycle_eur_per_kwh(config)
        buy, sell = np.array(prices.buy) + config.tariff.co2_eur_per_kwh, np.array(prices.sell)
        stored_kwh = np.linspace(0.0, self._usable_kwh, STORED)
        held = stored_kwh[None, :, None]
        most_kw = np.minimum(config.discharge_w / 1000, held * discharging / hours)
        least_kw = -np.minimum(config.charge_w / 1000, (self._usable_kwh - held) / charging / hours)
        parts, rows = np.linspace(0.0, 1.0, PARTS), np.arange(LEVELS)[:, None, None]
        energy = np.tile(-stored_kwh * discharging * float(buy.mean()), (LEVELS, 1))  # what is left is used later
        forced = np.zeros_like(energy)
        for k in reversed(range(DAY)):
            net_kw, counts = day[k]
            limit_kw = self._levels_kw[:, None, None] if counts else np.full((LEVELS, 1, 1), np.inf)
            low_kw = np.clip(net_kw - limit_kw, least_kw, most_kw)
            up_to_kw = np.minimum(most_kw, max(0.0, net_kw + self._export_kw))
            spread = low_kw + (up_to_kw - low_kw) * parts
            power_kw = np.concatenate([spread, np.maximum(low_kw, 0.0), np.clip(net_kw, low_kw, most_kw)], axis=2)
            import_kw, drawn = net_kw - power_kw, np.maximum(power_kw, 0.0) / discharging
            cost = np.where(import_kw > 0, buy[k], sell[k]) * import_kw + wear * np.abs(power_kw) + aged * drawn
            place = (held - hours * np.maximum(power_kw / discharging, power_kw * charging)) / self._usable_kwh
            place = np.clip(place * (STORED - 1), 0.0, STORED - 1.000001)
            below = place.astype(np.intp)
            part = place - below
            ways = [kind[rows, below] * (1 - part) + kind[rows, below + 1] * part for kind in (energy, forced)]
            ways[0] += hours * cost
            ways[1] += hours * np.maximum(0.0, import_kw - limit_kw - 1e-9)
            best = (ways[0] + AT_ANY_PRICE * ways[1]).argmin(axis=2)[:, :, None]
            energy, forced = (np.take_along_axis(kind, best, axis=2)[:, :, 0] for kind in ways)
        half = np.minimum.accumulate(energy[:, STORED // 2])
        low_eur, high_eur = (float(np.sort(buy)[part].mean()) for part in (slice(TRADED), slice(-TRADED, None)))
        earned = max(0.0, (high_eur - wear) * discharging - (low_eur + wear) / charging - aged)  # of a kWh stored
        net = np.array([net_kw if counts else -np.inf for net_kw, counts in day])
        above_kwh = hours * np.maximum(0.0, net[:, None] - self._levels_kw).sum(axis=0)
        found: Floats = half - half[-1] + earned * above_kwh
        return found
