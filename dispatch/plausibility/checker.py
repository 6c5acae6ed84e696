"""Checks all readings of a site, tick by tick. Owned by the controller; everything after it sees what comes out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.doubts import Doubt
from dispatch.model.equipment import Meter, Pcs, Pv
from dispatch.model.events import Event
from dispatch.model.readings import MISSING, USABLE, Quality, Reading
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import Range, SiteBounds, out_of_watts
from dispatch.plausibility.meters import Look, MeterCheck, Seen
from dispatch.plausibility.soc import SocCheck
from dispatch.plausibility.sources import SourceCheck
from dispatch.plausibility.trail import Trail, figures_of
from dispatch.plausibility.witnesses import FAR, Balance, Band, window_s
from dispatch.wording.catalogue import words

LIVE = 0.8  # of nominal: a bus with this voltage is live


class PlausibilityCheck:
    """Snapshots must not go back in `mono_s`.

    steps: False where readings are those of a replay, minutes apart: there only bounds are checked.
    """

    def __init__(self, config: DispatchConfig, steps: bool = True) -> None:
        self._config, self._steps = config, steps
        self._bounds = SiteBounds(config)
        self._hold_s = config.rules.meter_lost_hold_s
        self._window_s = window_s(config.grid.meter_delay_max_s)
        self._sides = {m.id: m.side for m in config.meters}
        self._meters: dict[str, MeterCheck] = {}
        self._sources: dict[str, SourceCheck] = {}
        self.soc = SocCheck(config)
        self._balance = Balance()
        self._net_w: float | None = None  # grid + PCS, as far as accepted readings show it
        self.often: tuple[Doubt, ...] = ()  # what is rejected again and again

    # ── the tick ────────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, raw: Snapshot) -> Snapshot:
        """The snapshot in which nothing is believed that cannot be true."""
        if not self._steps:
            return self._bounded(raw)
        replace = msgspec.structs.replace
        pcs = tuple(self._pcs(p, raw.mono_s) for p in raw.pcs)
        pv = tuple(self._pv(p, raw.mono_s) for p in raw.pv)
        found = replace(raw, pcs=pcs, pv=pv)
        found = replace(found, batteries=self.soc.check(found))
        grid, load = self._check_meters(found)
        self.often = tuple(d for t in self._trails() if (d := t.often(raw.mono_s)) is not None)
        return replace(found, grid=grid, load=load)

    def events(self, utc_s: float) -> Iterator[Event]:
        """What was rejected since the last call."""
        for trail in self._trails():
            for doubt in trail.rejected:
                text = f"reading not believed: {words(doubt.why)}"
                yield Event(utc_s, "device", "warning", doubt.device_id, text)
            trail.rejected.clear()
        yield from self.soc.news
        self.soc.news.clear()

    def settled(self, device_id: str) -> bool:
        """Two distinct samples of this meter's or source's power have agreed; always so where only bounds count."""
        if not self._steps:
            return True
        check = self._meters.get(device_id) or self._sources.get(device_id)
        return check is not None and check.power.settled

    def _trails(self) -> Iterator[Trail]:
        for meter in self._meters.values():
            yield from meter.trails
        for source in self._sources.values():
            yield from source.trails
        yield from self.soc.trails.values()

    # ── meters ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_meters(self, now: Snapshot) -> tuple[Meter, Meter | None]:
        mono_s = now.mono_s
        grid = self._meter(now.grid.id)
        pcs = self._pcs_band(now)
        known = self._bounds.knows_pv(tuple(p.id for p in now.pv))
        expected = (
            None if self._net_w is None or pcs is None else Band(self._net_w - pcs.high_w, self._net_w - pcs.low_w)
        )
        at_pcc = grid.look(now.grid, mono_s, self._bounds.grid_w(known), expected, self._live(now, now.grid.id))
        rest = load = None
        if now.load is not None:
            meter = self._meter(now.load.id)
            last_w = meter.power.value
            near = None if last_w is None else Band(last_w, last_w)
            load = meter.look(now.load, mono_s, self._bounds.load_w(), near, self._live(now, now.load.id))
            rest = self._rest(now, at_pcc, load, pcs)
        self._settle(now, at_pcc, load, rest)
        self._learn(now, at_pcc, load, rest, pcs)
        shown = grid.shown(now.grid, mono_s, self._hold_s)
        if now.load is None:
            return shown, None
        return shown, self._meter(now.load.id).shown(now.load, mono_s, self._hold_s)

    def _meter(self, meter_id: str) -> MeterCheck:
        if meter_id not in self._meters:
            self._meters[meter_id] = MeterCheck(self._bounds, meter_id, self._window_s)
        return self._meters[meter_id]

    def _pcs_band(self, now: Snapshot) -> Band | None:
        """What all PCS may have given at the moment that the meters show."""
        low_w = high_w = 0.0
        for pcs in now.pcs:
            band = self._source(pcs.id).window.band(now.mono_s - self._window_s)
            if band is None:
                return None
            low_w, high_w = low_w + band.low_w, high_w + band.high_w
        return Band(low_w, high_w)

    @staticmethod
    def _rest(now: Snapshot, grid: Seen, load: Seen, pcs: Band | None) -> Band | None:
        """load - grid - PCS - PV; None when a part is not known."""
        pv_w = now.pv_w
        absent = Look.ABSENT in (grid.look, load.look) or Look.WRONG in (grid.look, load.look)
        if absent or pcs is None or pv_w is None:
            return None
        w = load.w - grid.w - pv_w
        return Band(w - pcs.high_w, w - pcs.low_w)

    def _settle(self, now: Snapshot, at_pcc: Seen, load: Seen | None, rest: Band | None) -> None:
        """Accept or doubt both meters; where they move together, each confirms the other."""
        grid = self._meter(now.grid.id)
        if now.load is None or load is None:
            grid.settle(at_pcc, now.mono_s, confirmed=False, contradicted=None)
            return
        other = self._meter(now.load.id)
        speaks = rest is not None and self._balance.known(load.w)
        off_w, tolerance_w = (self._balance.off_w(rest), self._balance.tolerance_w(load.w)) if rest else (0.0, 0.0)
        closes, far = speaks and off_w <= tolerance_w, speaks and off_w > FAR * tolerance_w
        for meter, seen, by, steady in ((grid, at_pcc, other, load), (other, load, grid, at_pcc)):
            against = None
            if far and by.alive(now.mono_s) and steady.look in (Look.NEAR, Look.WITNESSED):
                against = Reason(
                    "doubt.balance", {"reading": "power", "value_w": seen.w, "apart_w": off_w, "allowed_w": tolerance_w}
                )
            meter.settle(seen, now.mono_s, confirmed=closes and seen.look is Look.STEP, contradicted=against)

    def _learn(self, now: Snapshot, at_pcc: Seen, load: Seen | None, rest: Band | None, pcs: Band | None) -> None:
        grid = self._meter(now.grid.id)
        grid.learn(now.grid)
        if now.load is not None:
            self._meter(now.load.id).learn(now.load)
        if rest is not None and load is not None and Look.STEP not in (at_pcc.look, load.look):
            self._balance.learn(rest, load.w)
        if grid.power.doubted or grid.power.value is None or pcs is None or at_pcc.look is Look.ABSENT:
            return
        low_w, high_w = grid.power.value + pcs.low_w, grid.power.value + pcs.high_w
        net_w = (low_w + high_w) / 2 if self._net_w is None else self._net_w
        self._net_w = min(max(net_w, low_w), high_w)

    def _live(self, now: Snapshot, meter_id: str) -> bool:
        """Whether all that says anything says that this meter's side of the switch is live."""
        nominal_v = self._bounds.nominal_v
        closed = all(s.position.good == "closed" for s in now.switches)
        own = self._sides.get(meter_id, "grid" if meter_id == now.grid.id else "site")
        says = []
        if own == "site" or closed:
            says += [v >= LIVE * nominal_v for p in now.pcs if (v := p.v.good) is not None]
        if own == "grid" or closed:
            says += [word == "present" for s in now.switches if (word := s.grid_voltage.good) is not None]
        return bool(says) and all(says)

    # ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _source(self, source_id: str) -> SourceCheck:
        if source_id not in self._sources:
            self._sources[source_id] = SourceCheck(source_id)
        return self._sources[source_id]

    def _pcs(self, pcs: Pcs, mono_s: float) -> Pcs:
        allowed = self._bounds.pcs_w(pcs.id, pcs.mode.good == "grid_forming")
        return msgspec.structs.replace(
            pcs,
            w=self._source(pcs.id).check(pcs.w, figures_of(pcs), mono_s, allowed, self._bounds.step_w, self._hold_s),
        )

    def _pv(self, pv: Pv, mono_s: float) -> Pv:
        allowed = self._bounds.pv_w(pv.id)
        return msgspec.structs.replace(
            pv,
            w=self._source(pv.id).check(pv.w, figures_of(pv), mono_s, allowed, self._bounds.step_w, self._hold_s),
        )

    # ── replay ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _bounded(self, raw: Snapshot) -> Snapshot:
        replace = msgspec.structs.replace
        known = self._bounds.knows_pv(tuple(p.id for p in raw.pv))
        grid = replace(raw.grid, w=self._within(raw.grid.id, raw.grid.w, self._bounds.grid_w(known), raw.mono_s))
        pcs = tuple(replace(p, w=self._within(p.id, p.w, self._bounds.pcs_w(p.id, False), raw.mono_s)) for p in raw.pcs)
        pv = tuple(replace(p, w=self._within(p.id, p.w, self._bounds.pv_w(p.id), raw.mono_s)) for p in raw.pv)
        return replace(raw, grid=grid, pcs=pcs, pv=pv)

    def _within(self, device_id: str, w: Reading, allowed: Range | None, mono_s: float) -> Reading:
        """The reading, missing where it is out of bounds."""
        if w.quality not in USABLE or w.value is None or allowed is None:
            return w
        trail = self._source(device_id).power
        if allowed.holds(w.value):
            trail.accept(w.value, mono_s)
            return w
        trail.reject(mono_s, out_of_watts("power", w.value, allowed))
        return Reading(None, w.age_s, Quality.MISSING) if w.age_s is not None else MISSING
