"""Checks grid meter and load meter together: where both move as the balance demands, each confirms the other."""

from __future__ import annotations

from dispatch.config.schema import DispatchConfig
from dispatch.model.equipment import Meter
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import SiteBounds
from dispatch.plausibility.device_states import LIVE
from dispatch.plausibility.meter_power import Finding, Judgement, MeterCheck
from dispatch.plausibility.reading_history import ReadingHistory
from dispatch.plausibility.witnesses import FAR, Balance, Band

SURE = {Finding.NEAR, Finding.WITNESSED}


class MeterPair:
    """Both meters of a site, tick by tick: `take`, then `check`."""

    def __init__(self, config: DispatchConfig, bounds: SiteBounds, window_s: float) -> None:
        self._bounds, self._window_s = bounds, window_s
        self._sides = {m.id: m.side for m in config.meters}
        self._meters: dict[str, MeterCheck] = {}
        self._balance = Balance()
        self._load: Judgement | None = None  # what the load meter's own figures say at this tick
        self._net_w: float | None = None  # grid + PCS, as far as accepted readings show it

    @property
    def count(self) -> int:
        """How many meters have been read so far."""
        return len(self._meters)

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every reading that is followed."""
        return [history for meter in self._meters.values() for history in meter.histories]

    def established(self, meter_id: str) -> bool:
        """Two distinct samples have agreed."""
        return meter_id in self._meters and self._meters[meter_id].power.established

    def _meter(self, meter_id: str) -> MeterCheck:
        if meter_id not in self._meters:
            self._meters[meter_id] = MeterCheck(self._bounds, meter_id, self._window_s)
        return self._meters[meter_id]

    def take(self, now: Snapshot) -> tuple[float | None, float | None]:
        """Take in both meters, once per tick and before `check`.

        Return their powers, W, where they can witness a step of a source; None: they cannot. The grid meter's may be a
        step itself: if it fits the source's, each confirms the other.
        """
        known = self._bounds.knows_pv(tuple(p.id for p in now.pv))
        live = self._live(now, now.grid.id)
        grid_w = self._meter(now.grid.id).take(now.grid, now.mono_s, self._bounds.grid_w(known), live)
        self._load = None
        if now.load is None:
            return grid_w, None
        meter, live = self._meter(now.load.id), self._live(now, now.load.id)
        meter.take(now.load, now.mono_s, self._bounds.load_w(), live)
        load = self._load = meter.judge(now.load, None)
        return grid_w, load.w if load.finding in SURE and self._balance.known(load.w) else None

    def _expected(self, pcs: Band | None) -> Band | None:
        """Where the grid meter's power should be after what the PCS did."""
        if self._net_w is None or pcs is None:
            return None
        return Band(self._net_w - pcs.high_w, self._net_w - pcs.low_w)

    def check(self, now: Snapshot, pcs: Band | None, hold_s: float) -> tuple[Meter, Meter | None]:
        """The meters as everybody else is to see them. `pcs`: what all PCS may have given at the time they show."""
        at_pcc, load = self._meter(now.grid.id).judge(now.grid, self._expected(pcs)), self._load
        residual = None if load is None else self._residual(now, at_pcc, load, pcs)
        self._decide(now, at_pcc, load, residual, pcs)
        if load is not None:
            self._settle_load(now, at_pcc, load, pcs)
        self._learn(now, at_pcc, load, residual, pcs)
        grid = self._meter(now.grid.id).shown(now.grid, now.mono_s, hold_s)
        if now.load is None:
            return grid, None
        return grid, self._meter(now.load.id).shown(now.load, now.mono_s, hold_s)

    @staticmethod
    def _residual(now: Snapshot, at_pcc: Judgement, load: Judgement, pcs: Band | None) -> Band | None:
        """load - grid - PCS - PV; None when a part is not known."""
        pv_w = now.pv_w
        absent = {at_pcc.finding, load.finding} & {Finding.ABSENT, Finding.WRONG}
        if absent or pcs is None or pv_w is None:
            return None
        w = load.w - at_pcc.w - pv_w
        return Band(w - pcs.high_w, w - pcs.low_w)

    def _decide(
        self, now: Snapshot, at_pcc: Judgement, load: Judgement | None, residual: Band | None, pcs: Band | None
    ) -> None:
        """Accept or doubt the grid meter."""
        grid = self._meter(now.grid.id)
        if now.load is None or load is None:
            grid.decide(at_pcc, confirmed=False, against=self._consumes_less_than_nothing(now, at_pcc, pcs))
            return
        speaks = self._meter(now.load.id).alive(now.mono_s) and load.finding in SURE
        less = self._consumes_less_than_nothing(now, at_pcc, pcs) if load.finding is Finding.ABSENT else None
        self._settle_one(grid, at_pcc, load.w, residual, speaks, less)

    def _settle_load(self, now: Snapshot, at_pcc: Judgement, load: Judgement, pcs: Band | None) -> None:
        """Accept or doubt the load meter. Behind an open switch nothing flows at the PCC, whatever that meter says."""
        assert now.load is not None
        speaks = self._meter(now.grid.id).alive(now.mono_s) and at_pcc.finding in SURE
        if any(s.isolates for s in now.switches):
            at_pcc, speaks = Judgement(Finding.NEAR), True
        self._settle_one(self._meter(now.load.id), load, load.w, self._residual(now, at_pcc, load, pcs), speaks)

    def _settle_one(
        self,
        meter: MeterCheck,
        judged: Judgement,
        load_w: float,
        residual: Band | None,
        speaks: bool,
        otherwise: Reason | None = None,
    ) -> None:
        """`speaks`: the residual of the balance may contradict this meter; `otherwise`: what does, if that does not."""
        off_w, allowed_w, against = 0.0, self._balance.tolerance_w(load_w), None
        closes = False
        if residual is not None and self._balance.known(load_w):
            off_w = self._balance.off_w(residual)
            closes = off_w <= allowed_w
            if speaks and off_w > FAR * allowed_w:
                against = Reason(
                    "doubt.balance", {"reading": "power", "value_w": judged.w, "apart_w": off_w, "allowed_w": allowed_w}
                )
        meter.decide(judged, confirmed=closes and judged.finding is Finding.STEP, against=against or otherwise)

    def _consumes_less_than_nothing(self, now: Snapshot, at_pcc: Judgement, pcs: Band | None) -> Reason | None:
        """Why a grid power whose sign has changed cannot be: the site would export more than its sources give."""
        if not at_pcc.flipped or pcs is None or now.pv_w is None:
            return None
        load_w = at_pcc.w + pcs.high_w + now.pv_w
        if load_w >= -self._bounds.step_w:
            return None
        return Reason(
            "doubt.negative_load",
            {"reading": "power", "value_w": at_pcc.w, "last_w": self._meter(now.grid.id).power.value, "load_w": load_w},
        )

    def _learn(
        self, now: Snapshot, at_pcc: Judgement, load: Judgement | None, residual: Band | None, pcs: Band | None
    ) -> None:
        grid = self._meter(now.grid.id)
        grid.learn(now.grid, now.mono_s)
        if now.load is not None:
            self._meter(now.load.id).learn(now.load, now.mono_s)
        sources = not any(w.doubted for w in (*(p.w for p in now.pcs), *(p.w for p in now.pv)))
        meters = not any(m.power.doubted for m in self._meters.values())
        alive = all(m.alive(now.mono_s) for m in self._meters.values())
        sure = residual is not None and load is not None and {at_pcc.finding, load.finding} <= SURE
        if sure and sources and meters and alive and residual is not None and load is not None:
            self._balance.learn(residual, load.w, now.mono_s)
        if grid.power.doubted or grid.power.value is None or pcs is None or at_pcc.finding is Finding.ABSENT:
            return
        low_w, high_w = grid.power.value + pcs.low_w, grid.power.value + pcs.high_w
        net_w = (low_w + high_w) / 2 if self._net_w is None else self._net_w
        self._net_w = min(max(net_w, low_w), high_w)

    def _live(self, now: Snapshot, meter_id: str) -> bool:
        """Whether all that says anything says that this meter's side of the switch is live."""
        nominal_v = self._bounds.nominal_v
        closed = all(s.position.good == "closed" for s in now.switches)
        own = self._sides.get(meter_id, "grid" if meter_id == now.grid.id else "site")
        says: list[bool] = []
        if own == "site" or closed:
            says += [v >= LIVE * nominal_v for p in now.pcs if (v := p.v.good) is not None]
        if own == "grid" or closed:
            says += self._grid_side(now)
        return bool(says) and all(says)

    def _grid_side(self, now: Snapshot) -> list[bool]:
        """What contacts and voltages of the switches say of the grid's side: live or not."""
        words = [word == "present" for s in now.switches if (word := s.grid_voltage.good) is not None]
        live_v = LIVE * self._bounds.nominal_v
        return words + [v >= live_v for s in now.switches if (v := s.grid_v.good) is not None]
