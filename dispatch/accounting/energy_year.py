"""Adds up a site's energy over a year, and makes of it what the EU asks of data centres.

The quantities are those of Commission Delegated Regulation (EU) 2024/1364 of 14 March 2024, Annexes II and III. Where
its symbol is known from a source it is the name (PDIT, EDC, EIT, WIN; PUE, WUE, ERF, REF), else a word is. The text of
the annexes was not at hand, nor what later acts changed. PUE: EN 50600-4-2; REF: EN 50600-4-3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from dispatch.model.forecast import QUARTER_S

QUARTER_H = QUARTER_S / 3600


class QuarterPowers(NamedTuple):
    """Mean powers of a quarter hour, W; None: not known. `grid_w` > 0 imports."""

    grid_w: float | None
    pv_w: float | None
    load_w: float | None
    it_w: float | None
    genset: bool = False  # a generator fed the site: what the meter shows is no import
    co2_g_per_kwh: float | None = None  # of a kWh of the grid, as it was known then


class EnergyYear(msgspec.Struct, frozen=True, kw_only=True):
    """Energies of the quarter hours that are on record, kWh."""

    known_h: float  # with grid and PV
    of_h: float
    import_kwh: float
    export_kwh: float
    pv_kwh: float
    pv_used_kwh: float  # not exported
    genset_kwh: float
    load_kwh: float | None  # None: not known for a single quarter hour
    it_kwh: float | None
    it_known_h: float  # with grid, PV and IT
    pue: float | None  # of those hours
    co2_kg: float | None  # of `co2_known_kwh`; None: that is nothing
    co2_known_kwh: float  # import for which a figure was recorded or is stated
    co2_recorded_kwh: float  # for which one was recorded

    @property
    def total_kwh(self) -> float:
        """What the site used: what came in, less what went out; losses of batteries are in it."""
        return self.import_kwh + self.genset_kwh + self.pv_kwh - self.export_kwh

    @property
    def ref(self) -> float | None:
        """Share of the own PV in what the site used; bought green power is not in it."""
        return self.pv_used_kwh / self.total_kwh if self.total_kwh > 0 else None


class Indicator(msgspec.Struct, frozen=True):
    """One line of the report. `value` None: Skerry does not know it, and `note` says why, or what is counted."""

    name: str
    what: str
    unit: str
    value: float | None
    note: str = ""


class _Sums:
    """Energies in Wh, hours."""

    def __init__(self) -> None:
        self.quarters = self.known = self.it_known = self.load_known = 0
        self.bought = self.sold = self.pv = self.pv_used = self.genset = self.load = self.it = self.site_with_it = 0.0
        self.co2_g = self.co2_known = self.co2_recorded = 0.0

    def add(self, powers: QuarterPowers, stated_g_per_kwh: float | None) -> None:
        """One quarter hour."""
        self.quarters += 1
        if powers.load_w is not None:
            self.load_known += 1
            self.load += powers.load_w * QUARTER_H
        if powers.grid_w is None or powers.pv_w is None:
            return
        self.known += 1
        bought, sold = max(0.0, powers.grid_w) * QUARTER_H, max(0.0, -powers.grid_w) * QUARTER_H
        pv = max(0.0, powers.pv_w) * QUARTER_H
        self.genset += bought if powers.genset else 0.0
        self._add_import(0.0 if powers.genset else bought, powers.co2_g_per_kwh, stated_g_per_kwh)
        self.sold += sold
        self.pv += pv
        self.pv_used += max(0.0, pv - sold)
        if powers.it_w is not None:
            self.it_known += 1
            self.it += powers.it_w * QUARTER_H
            self.site_with_it += bought + pv - sold

    def _add_import(self, wh: float, recorded: float | None, stated: float | None) -> None:
        """Import with its CO2, by what was recorded, else by what is stated, g/kWh."""
        self.bought += wh
        figure = stated if recorded is None else recorded
        if figure is not None:
            self.co2_known += wh
            self.co2_recorded += 0.0 if recorded is None else wh
            self.co2_g += wh / 1000 * figure


def energy_year(quarters: Iterable[QuarterPowers], co2_g_per_kwh: float | None) -> EnergyYear:
    """The energies of these quarter hours, each of which has passed. Within one, import and export cancel.

    co2_g_per_kwh: of the grid, for quarter hours of which no figure was recorded.
    """
    sums = _Sums()
    for powers in quarters:
        sums.add(powers, co2_g_per_kwh)
    return EnergyYear(
        known_h=sums.known * QUARTER_H,
        of_h=sums.quarters * QUARTER_H,
        import_kwh=sums.bought / 1000,
        export_kwh=sums.sold / 1000,
        pv_kwh=sums.pv / 1000,
        pv_used_kwh=sums.pv_used / 1000,
        genset_kwh=sums.genset / 1000,
        load_kwh=sums.load / 1000 if sums.load_known else None,
        it_kwh=sums.it / 1000 if sums.it_known else None,
        it_known_h=sums.it_known * QUARTER_H,
        pue=sums.site_with_it / sums.it if sums.it > 0 else None,
        co2_kg=sums.co2_g / 1000 if sums.co2_known or co2_g_per_kwh is not None else None,
        co2_known_kwh=sums.co2_known / 1000,
        co2_recorded_kwh=sums.co2_recorded / 1000,
    )


NOT_METERED = "not metered by Skerry"
NOT_KNOWN = (  # indicators of Annex II and III that nothing on record tells
    ("PDIT", "installed IT power demand", "kW", "by the nameplates"),
    ("area", "floor area", "m2", "by the plans"),
    ("computer-rooms", "floor area of computer rooms", "m2", "by the plans"),
    ("WIN", "water input", "m3", NOT_METERED),
    ("potable-water", "potable water input", "m3", NOT_METERED),
    ("heat-reused", "waste heat reused", "kWh", NOT_METERED),
    ("heat-temperature", "waste heat temperature, mean", "°C", NOT_METERED),
    ("intake-air", "set point of the intake air, mean", "°C", NOT_METERED),
    ("cooling-degree-days", "cooling degree days", "degree-days", "by the weather service"),
    ("renewable-guarantees", "renewable energy by guarantees of origin", "kWh", "by the contracts"),
    ("renewable-ppa", "renewable energy by power purchase agreements", "kWh", "by the contracts"),
    ("renewable", "renewable energy", "kWh", "renewable-on-site and what the contracts tell"),
    ("servers", "ICT capacity of servers", "", "by the servers' SERT rating"),
    ("storage", "ICT capacity of storage", "PB", "by the inventory"),
    ("traffic", "data traffic in and out, and its bandwidth", "", "by the network"),
    ("refrigerants", "kinds of refrigerants", "", "by the plans"),
    ("WUE", "water usage effectiveness", "m3/kWh", NOT_METERED),
    ("ERF", "energy reuse factor", "", NOT_METERED),
)


def _co2_source(year: EnergyYear) -> str:
    """By which figures the CO2 of the import is added up."""
    stated_kwh, unknown_kwh = year.co2_known_kwh - year.co2_recorded_kwh, year.import_kwh - year.co2_known_kwh
    if not year.co2_recorded_kwh:
        return "by [tariff] co2_g_per_kwh"
    parts = [f"{year.co2_recorded_kwh:.0f} kWh by the grid's mix as fetched then"]
    if round(stated_kwh):
        parts.append(f"{stated_kwh:.0f} kWh by [tariff] co2_g_per_kwh")
    if round(unknown_kwh):
        parts.append(f"{unknown_kwh:.0f} kWh without a figure are left out")
    return ", ".join(parts)


def indicators(year: EnergyYear, it_source: str, pcs_w: float) -> list[Indicator]:
    """The report. `it_source`: what the IT energy is measured by. `pcs_w`: rated discharge of all batteries' PCS, W.

    Where not a quarter hour is on record, its energies are not known: not 0.
    """

    def measured(value: float | None) -> float | None:
        return value if year.known_h else None

    it_note = f"{it_source}; known for {year.it_known_h:.0f} of {year.of_h:.0f} h"
    known = [
        Indicator("EDC", "energy used", "kWh", measured(year.total_kwh), "import, generator and PV, less export"),
        Indicator("EIT", "energy of the IT equipment", "kWh", year.it_kwh, it_note),
        Indicator(
            "renewable-on-site",
            "renewable energy from the site",
            "kWh",
            measured(year.pv_used_kwh),
            "PV that was not exported",
        ),
        Indicator(
            "battery", "battery capacity for the grid", "kW", pcs_w / 1000, "rated, if offered to the grid at all"
        ),
        Indicator("PUE", "power usage effectiveness", "", year.pue, "EDC / EIT, over hours with both"),
        Indicator(
            "REF", "renewable energy factor", "", year.ref, "renewable-on-site / EDC: at least; contracts come on top"
        ),
        Indicator("import", "from the grid", "kWh", measured(year.import_kwh)),
        Indicator("export", "to the grid", "kWh", measured(year.export_kwh)),
        Indicator("PV", "from the site's PV", "kWh", measured(year.pv_kwh)),
        Indicator("generator", "while a generator fed the site", "kWh", measured(year.genset_kwh)),
        Indicator("load", "load without losses of batteries", "kWh", year.load_kwh),
        Indicator(
            "CO2", "of the import", "kg", measured(year.co2_kg), f"{_co2_source(year)}; PV and generator not counted"
        ),
    ]
    return known + [Indicator(name, what, unit, None, why) for name, what, unit, why in NOT_KNOWN]
