"""All batteries and PCS of a site as one, as their devices report them. No other module combines their SoC.

* **Weight**: the rated energy that the site file gives (`dispatch/config/battery_ratings.py`). The rating that a BMS
  reports is not used: when it comes or goes the SoC would jump, and SoC times energy would not be what the plan reckons
  with. Nor is health: what a point of SoC really gives is learnt (`dispatch/islanding/runtime_estimator.py`).
* **SoC**: stored over rated energy, so the mean of the batteries' SoC by weight. OpenEMS weights by capacity as well
  (github.com/OpenEMS/openems at 0e85f0640cf7, io.openems.edge.ess.api/src/io/openems/edge/ess/api/CalculateSoc.java);
  SunSpec model 713 too has SoC as a share of rated energy (github.com/sunspec/models at 0b4bf05d7500, model_713.json).
* **Missing**: as soon as one battery's SoC is missing, the site's is; `known_soc` names those that are read. OpenEMS
  averages the others; here the one that is not read may be the empty one, and the mean would let the reserve be spent.
* **Out of service**: a battery that has tripped, or whose PCS is off or in fault. It counts in the SoC that is shown,
  recorded and planned with, as its energy is still there. It does not count in what is *available*: discharging power,
  runtime, and what the reserve rule compares with the reserve. With none in service all count as before: nothing can
  be asked of any, and there is no other battery that would have to carry for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum

import msgspec
from msgspec.structs import replace

from dispatch.config.battery_ratings import ac_of_dc_w, bms_share, weighted_mean
from dispatch.config.schema import DispatchConfig, PcsRatings
from dispatch.model.equipment import COUNTED, PCS_OUT, Battery
from dispatch.model.readings import MISSING, Reading, worst_of
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot


def combined_soc(batteries: Iterable[Battery], rated_kwh: Mapping[str, float]) -> Reading:
    """SoC of several batteries together, as old and as bad as the worst reading; missing as soon as one is.

    rated_kwh: by id. A single battery is itself; of several, each needs its rated energy.
    """
    found = tuple(batteries)
    if len(found) == 1:
        return found[0].soc_pct
    values = [b.soc_pct.value for b in found if b.soc_pct.value is not None]
    weights = [rated_kwh[b.id] for b in found if b.id in rated_kwh]
    if not found or not len(values) == len(weights) == len(found):
        return MISSING
    worst = worst_of(b.soc_pct for b in found)
    return Reading(weighted_mean(values, weights), worst.age_s, worst.quality)


def highest_soc(battery: Battery) -> Reading:
    """The highest that a battery's SoC may be."""
    return battery.soc_pct if battery.soc_high_pct.value is None else battery.soc_high_pct


def known_soc(batteries: Iterable[Battery]) -> tuple[str, ...]:
    """Ids of the batteries whose SoC has been read, a stale one too."""
    return tuple([b.id for b in batteries if b.soc_pct.value is not None])


def in_service(soc_pct: float, available_pct: float) -> Reason:
    """The site's SoC, and what of it is in batteries in service where some are not."""
    if available_pct == soc_pct:
        return Reason("soc.stored", {"soc_pct": soc_pct})
    return Reason("soc.in_service", {"soc_pct": soc_pct, "available_pct": available_pct})


def counted(reason: Reason, batteries: Iterable[Battery]) -> Reason:
    """A reason that gives an SoC, and that it is counted from energy where a BMS is not believed."""
    found = [b for b in batteries if b.soc_state in COUNTED]
    if not found:
        return reason
    reports = [Reason("soc.report", {"battery": b.id, "reported_pct": b.soc_reported_pct.value or 0.0}) for b in found]
    return Reason("soc.counted", {"reason": reason, "reports": reports})


class BatteryBank(msgspec.Struct, frozen=True):
    """The batteries and PCS of the site file at one instant, as one. One that the snapshot lacks has not been read."""

    config: DispatchConfig
    snapshot: Snapshot

    @property
    def batteries(self) -> tuple[Battery, ...]:
        """Every battery of the site file, as read."""
        found = {b.id: b for b in self.snapshot.batteries}
        return tuple([found.get(b.id) or Battery(b.id) for b in self.config.batteries])

    @property
    def soc(self) -> Reading:
        """Stored over rated energy, %."""
        return combined_soc(self.batteries, {b.id: b.energy_kwh for b in self.config.batteries})

    @property
    def soc_pct(self) -> float | None:
        """The same as far as it may be used for control."""
        return self.soc.good

    @property
    def soc_high_pct(self) -> float | None:
        """The highest that it may be: what charging reckons with while a BMS's SoC stands still."""
        if all(b.soc_high_pct.value is None for b in self.snapshot.batteries):
            return self.soc_pct
        highest = [replace(b, soc_pct=highest_soc(b)) for b in self.batteries]
        return combined_soc(highest, {b.id: b.energy_kwh for b in self.config.batteries}).good

    @property
    def counted_pct(self) -> float | None:
        """`soc_pct` with each battery of which only its own report tells at what energy says; None: none is counted."""
        if all(b.soc_counted_pct.value is None for b in self.snapshot.batteries):
            return None
        counted = [b if (r := b.soc_counted_pct).value is None else replace(b, soc_pct=r) for b in self.batteries]
        return combined_soc(counted, {b.id: b.energy_kwh for b in self.config.batteries}).good

    @property
    def available_pct(self) -> float | None:
        """What of `soc_pct` is stored in batteries in service, in points of the site's SoC."""
        soc_pct = self.soc_pct
        return None if soc_pct is None else soc_pct * self.available_share

    @property
    def available_share(self) -> float:
        """The share, 0..1, of the stored energy that is in batteries in service; 1 where SoC is not known."""
        serving = {ratings.battery for ratings in self._pcs_in_service}
        if not serving or all(b.id in serving for b in self.config.batteries) or self.soc_pct is None:
            return 1.0
        rated_kwh = {b.id: b.energy_kwh for b in self.config.batteries}
        stored = {b.id: rated_kwh[b.id] * (b.soc_pct.good or 0.0) for b in self.batteries}
        total = fsum(stored.values())
        return fsum(kwh for name, kwh in stored.items() if name in serving) / total if total > 0 else 1.0

    @property
    def discharge_w(self) -> float | None:
        """What the PCS in service can give now, AC W: the sum of the least of rating, setting and BMS limit of each.

        Of the rating, not of its cap: a PCS that forms the grid gives what is drawn, and knows no cap.
        None: one of them, or its BMS, has never been read. A limit that went stale still limits.
        """
        found = [self._discharge_w(ratings) for ratings in self._pcs_in_service]
        known = [w for w in found if w is not None]
        return fsum(known) if len(known) == len(found) else None

    @property
    def _pcs_in_service(self) -> tuple[PcsRatings, ...]:
        """The PCS that serve with their batteries, as far as those say; all of them if none does."""
        out = {p.id for p in self.snapshot.pcs if p.state.good in PCS_OUT}
        tripped = {b.id for b in self.snapshot.batteries if b.tripped}
        pcs = self.config.pcs
        return tuple([p for p in pcs if p.id not in out and p.battery not in tripped]) or pcs

    def _discharge_w(self, ratings: PcsRatings) -> float | None:
        pcs = next((p for p in self.snapshot.pcs if p.id == ratings.id), None)
        battery = next((b for b in self.snapshot.batteries if b.id == ratings.battery), None)
        if pcs is None or battery is None or battery.discharge_limit_w.value is None:
            return None
        terms = next(b for b in self.config.batteries if b.id == ratings.battery)
        bms_w = ac_of_dc_w(terms, battery.discharge_limit_w.value) * bms_share(self.config, ratings)
        rated_w = next((p.discharge_w for p in self.config.able_pcs if p.id == ratings.id), ratings.discharge_w)
        setting_w = rated_w if pcs.discharge_limit_w.value is None else pcs.discharge_limit_w.value
        return max(min(rated_w, setting_w, bms_w), 0.0)
