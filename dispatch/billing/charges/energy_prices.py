"""Calculates what a kWh costs at an instant: every energy charge that holds then, EUR, VAT as it is paid.

Charges of one VAT rate are added up before VAT. Of tiers the first is taken, and of charges that hold in years of few
full-load hours none: which tier or year it becomes is known at its end. The invoice has both as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from dispatch.billing.charges.accounts import eur_per_unit
from dispatch.billing.charges.calendar import calendar_of, in_force
from dispatch.billing.charges.full_load_hours import expected_h, holds_at
from dispatch.billing.charges.local_times import held, local_times
from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms

NEEDS_MARKET = "a market price: the charge's market_factor is not 0"


class EnergyPrices(NamedTuple):
    """What a kWh costs and earns at each instant, EUR."""

    buy: list[float]
    sell: list[float]


def uses_market(tariff: TariffTerms, flow: Literal["import", "export"] | None = None) -> bool:
    """Whether any energy price follows the market's; `flow`: of this one only."""
    return any(c.market_factor for c in _energy(tariff, flow))


def by_time(tariff: TariffTerms) -> bool:
    """Whether any energy price depends on windows or dates."""
    return not all(map(_always, _energy(tariff, None)))


def by_quantity(tariff: TariffTerms) -> bool:
    """Whether any energy price depends on how much energy there is in its period or year."""
    energy = [c for c in tariff.charges if c.kind == "energy"]
    return any(c.tiers or c.full_load_h_from is not None or c.full_load_h_below is not None for c in energy)


class ImportPrices:
    """What an imported kWh costs at one instant after another: charges that hold together are added up once."""

    def __init__(self, tariff: TariffTerms, timezone: str) -> None:
        self._tariff, self._calendar = tariff, calendar_of(tariff, timezone)
        self._charges = _energy(tariff, "import")
        self._timed = [None if _always(c) else c for c in self._charges]
        self._sums: dict[tuple[bool, ...], list[_Sum]] = {}  # by which of the charges hold

    def at(self, utc_s: float, eur_per_mwh: float | None = None) -> float | None:
        """EUR; None where a market price is needed and not given."""
        holds = tuple([c is None or in_force(c, self._calendar, utc_s) for c in self._timed])
        sums = self._sums.get(holds)
        if sums is None:
            holding = [c for c, so in zip(self._charges, holds, strict=True) if so]
            sums = self._sums[holds] = _sums(self._tariff, holding, lambda _: 1.0)
        if eur_per_mwh is None and any(of.market is not None for of in sums):
            return None
        return float(_price(sums, eur_per_mwh or 0.0))


def import_price(tariff: TariffTerms, timezone: str, utc_s: float, eur_per_mwh: float | None = None) -> float | None:
    """What an imported kWh costs at an instant; None where a market price is needed and not given."""
    return ImportPrices(tariff, timezone).at(utc_s, eur_per_mwh)


def market_behind(prices: ImportPrices, utc_s: float, eur_per_kwh: float) -> float | None:
    """The market price, EUR/MWh, that makes this import price at an instant; None where it has no part in it."""
    least, more = prices.at(utc_s, 0.0), prices.at(utc_s, 1000.0)
    assert least is not None
    assert more is not None
    return None if more == least else 1000 * (eur_per_kwh - least) / (more - least)


def energy_prices(
    tariff: TariffTerms, timezone: str, instants_utc_s: Sequence[float], eur_per_mwh: Sequence[float] | None = None
) -> EnergyPrices:
    """What a kWh costs and earns at many instants, each with its market price.

    Raises ValueError where one is needed and not given.
    """
    return EnergyPrices(
        _prices(tariff, timezone, instants_utc_s, eur_per_mwh, "import"),
        _prices(tariff, timezone, instants_utc_s, eur_per_mwh, "export"),
    )


def _prices(
    tariff: TariffTerms,
    timezone: str,
    instants_utc_s: Sequence[float],
    eur_per_mwh: Sequence[float] | None,
    flow: Literal["import", "export"],
) -> list[float]:
    charges = _energy(tariff, flow)
    if eur_per_mwh is None:
        for charge in charges:
            if charge.market_factor:
                raise ValueError(f"charge {charge.id}: expected {NEEDS_MARKET}")
        eur_per_mwh = [0.0] * len(instants_utc_s)
    if all(map(_always, charges)):
        sums = _sums(tariff, charges, lambda _: 1.0)
        return [float(_price(sums, price)) for price in eur_per_mwh]
    import numpy as np

    calendar, times = calendar_of(tariff, timezone), local_times(instants_utc_s, timezone)
    shares = {c: 1.0 if _always(c) else held(c, calendar, times).astype(float) for c in charges}
    total = _price(_sums(tariff, charges, lambda charge: shares[charge]), np.array(eur_per_mwh, dtype=float))
    found: list[float] = np.broadcast_to(total, (len(instants_utc_s),)).tolist()
    return found


def _energy(tariff: TariffTerms, flow: Literal["import", "export"] | None) -> list[Charge]:
    hours = expected_h(tariff)
    return [c for c in tariff.charges if c.kind == "energy" and flow in (None, c.flow) and holds_at(c, hours)]


def _always(charge: Charge) -> bool:
    return not (charge.windows or charge.from_date or charge.to_date)


class _Sum(NamedTuple):
    """Charges of one VAT rate: numbers, or arrays with a value for each instant."""

    market: Any  # times the market price; None: it has no part in them
    prices: list[Any]  # EUR per kWh, net, each charge's
    vat: float  # 1.19 for 19 %


def _sums(tariff: TariffTerms, charges: Sequence[Charge], holds: Callable[[Charge], Any]) -> list[_Sum]:
    """`holds`: 1 where a charge holds, else 0."""
    by_vat: dict[float, list[Charge]] = {}
    for charge in charges:
        by_vat.setdefault(charge.vat_pct, []).append(charge)
    found = []
    for vat_pct, together in by_vat.items():
        market = [c.market_factor * holds(c) for c in together if c.market_factor]
        prices = [(c.tiers[0][1] if c.tiers else c.price) * eur_per_unit(c, tariff) * holds(c) for c in together]
        found.append(_Sum(sum(market[1:], market[0]) if market else None, prices, 1 + vat_pct / 100))
    return found


def _price(sums: list[_Sum], eur_per_mwh: Any) -> Any:
    """EUR per kWh, a number or an array: the market's price first, then each charge's."""
    total: Any = 0.0
    for market, prices, vat in sums:
        net = 0.0 if market is None else market * eur_per_mwh / 1000
        for price in prices:
            net = net + price
        total = total + net * vat
    return total
