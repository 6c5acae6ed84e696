"""What a site can do at all, by its site file: the bounds beyond which a reading is no reading."""

from __future__ import annotations

import math

import msgspec

from dispatch.config.schema import DispatchConfig, PvTerms
from dispatch.model.reasons import Reason

IMPORT_FUSES = 3.0  # a fuse carries about three times its rating for some ten seconds (IEC 60269-1, gG): an overload
OVER_RATING = 1.2  # a PCS swings past its rating for a moment
OVER_RATING_FORMING = 1.5  # and carries short overloads when it forms the grid
OVER_AC = 1.1  # an inverter's rated power; with a battery on its DC side it may be above the peak of its panels
OVER_PEAK = 1.3  # cold panels at the edge of a cloud give more than their rated peak
MARGIN_W = 1_000.0  # what offsets of meters and standby losses may add
V_MOST = 2.0  # of nominal: a lost neutral gives up to 1.73
HZ_OFF = 0.1  # of nominal frequency, both ways; an island stays within it, or its PCS trip


class Range(msgspec.Struct, frozen=True):
    """Bounds of one reading, and the keys of the site file that they follow from."""

    low: float
    high: float
    key: str

    def holds(self, value: float) -> bool:
        """Whether the value lies within; NaN and infinities do not."""
        return math.isfinite(value) and self.low <= value <= self.high


BATTERY_TEMP_C = Range(-40.0, 150.0, "[[battery]] temp_min_c, temp_max_c")  # what a sensor in a battery can mean


def out_of_watts(reading: str, w: float, allowed: Range) -> Reason:
    """Why a power is not believed."""
    return Reason(
        "doubt.power_range",
        {"reading": reading, "value_w": w, "low_w": allowed.low, "high_w": allowed.high, "key": allowed.key},
    )


def out_of(reading: str, value: float, unit: str, allowed: Range) -> Reason:
    """Why another reading is not believed."""
    return Reason(
        "doubt.range",
        {
            "reading": reading,
            "value": value,
            "unit": unit,
            "low": allowed.low,
            "high": allowed.high,
            "key": allowed.key,
        },
    )


def first(reading: str) -> Reason:
    """Why the first reading after a start is not used yet."""
    return Reason("doubt.first", {"reading": reading})


class SiteBounds:
    """The bounds of every reading of a site."""

    def __init__(self, config: DispatchConfig) -> None:
        grid = config.grid
        self._pcs = {p.id: p for p in config.able_pcs}
        self._pv = {p.id: p for p in config.pv}
        self.step_w = max(1_500.0, 0.03 * grid.fuse_w)  # by how much power may change from one sample to the next
        self.nominal_v = grid.voltage_v
        self.step_a = self.step_w / grid.phases / grid.voltage_v  # and the current of one phase
        island = config.island
        self.nominal_hz = 60.0 if island.hz_low is not None and island.hz_low >= 55 else 50.0
        self.most_w = IMPORT_FUSES * grid.fuse_w
        self._fuse_a = grid.fuse_a
        self._sources_w = sum(OVER_RATING * p.discharge_w for p in config.able_pcs) + sum(map(_most_pv_w, config.pv))

    def grid_w(self, pv_known: bool) -> Range:
        """Import and export at the PCC. `pv_known`: the site file states the peak of every PV inverter."""
        if not pv_known:
            return Range(-self.most_w, self.most_w, "[grid] fuse_a")
        export_w = min(self._sources_w + MARGIN_W, self.most_w)
        return Range(-export_w, self.most_w, "[grid] fuse_a, [[pcs]] discharge_w, [[pv]] peak_w")

    def load_w(self) -> Range:
        """Consumption: all that grid and sources can give."""
        key = "[grid] fuse_a, [[pcs]] discharge_w, [[pv]] peak_w"
        return Range(-MARGIN_W, self.most_w + self._sources_w, key)

    def pcs_w(self, pcs_id: str, forming: bool) -> Range | None:
        """Power of a PCS, discharge > 0; None for one that the site file does not name."""
        rated = self._pcs.get(pcs_id)
        if rated is None:
            return None
        over = OVER_RATING_FORMING if forming else OVER_RATING
        return Range(
            -over * rated.charge_w - MARGIN_W / 2,
            over * rated.discharge_w + MARGIN_W / 2,
            f"[[pcs]] {pcs_id}: charge_w, discharge_w",
        )

    def pv_w(self, pv_id: str) -> Range | None:
        """Power of a PV inverter; at night it may take a little. None for one that the site file does not name."""
        terms = self._pv.get(pv_id)
        if terms is None:
            return Range(-self.most_w, self.most_w, "[grid] fuse_a")
        key = f"[[pv]] {pv_id}: peak_w" if terms.rated_w is None else f"[[pv]] {pv_id}: peak_w, rated_w"
        return Range(-max(100.0, 0.02 * terms.peak_w), _most_pv_w(terms), key)

    def node_w(self, load_w: float | None) -> Range:
        """Power of a compute node: part of the load, where that is known."""
        if load_w is None:
            return Range(0.0, self.load_w().high, self.load_w().key)
        return Range(0.0, max(load_w, 0.0) + self.step_w, "the site's load, as measured")

    def volts(self) -> Range:
        """Voltage, phase to neutral."""
        return Range(0.0, V_MOST * self.nominal_v, "[grid] voltage_v")

    def hertz(self) -> Range:
        """Frequency of a live bus."""
        return Range((1 - HZ_OFF) * self.nominal_hz, (1 + HZ_OFF) * self.nominal_hz, "[island] hz_low, hz_high")

    def amperes(self) -> Range:
        """Current of one phase, magnitude."""
        sources_a = self._sources_w / self.nominal_v
        return Range(0.0, IMPORT_FUSES * self._fuse_a + sources_a, "[grid] fuse_a")

    def knows_pv(self, ids: tuple[str, ...]) -> bool:
        """Whether the site file states the peak of each of these."""
        return all(i in self._pv for i in ids)


def _most_pv_w(terms: PvTerms) -> float:
    """What a PV inverter can give."""
    return max(OVER_AC * (terms.rated_w or 0.0), OVER_PEAK * terms.peak_w)
