"""Remembers since when the grid meter is lost or doubted, for the safe value and its reason."""

from __future__ import annotations

import msgspec

from dispatch.config.schema import RulesConfig
from dispatch.control.fallback import Lost, meter_lost_w
from dispatch.model.equipment import Meter
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot


class MeterLoss:
    """The loss of the grid meter that is under way, if there is one."""

    def __init__(self, rules: RulesConfig) -> None:
        self._rules = rules
        self._lost: Lost | None = None
        self._doubted_s: float | None = None  # since when the grid meter's power has been doubted

    def forget(self) -> None:
        """A loss begins anew with the next step: what is held then is what the PCS are found to hold."""
        self._lost = None

    def safe(
        self,
        snapshot: Snapshot,
        raw: Meter | None,
        net_w: float | None,
        last_w: float,
        frozen: bool,
        on_genset: bool = False,
    ) -> tuple[float, Reason] | None:
        """The battery power while the net load is not known, W, and why; None while it is.

        `raw`: the grid meter before its readings were checked; `frozen`: it stands still.
        `last_w`: the power asked last. `on_genset`: nothing is held, as a load that has changed could leave the
        generator below its lowest load or above its rating.
        """
        self._watch_doubt(snapshot)
        if net_w is not None:
            self._lost = None
            return None
        what = _trouble(snapshot, raw, frozen)
        if on_genset:
            self._lost = None
            return 0.0, Reason("genset.load_unknown", {"lost": what})
        if self._lost is None:
            self._lost = Lost(self._lost_since_s(snapshot), last_w, what)
        self._lost = msgspec.structs.replace(self._lost, what=what)
        return meter_lost_w(self._rules, self._lost, snapshot.mono_s)

    def _watch_doubt(self, snapshot: Snapshot) -> None:
        """Since when the grid meter's power has been doubted."""
        if snapshot.grid.w.confirmed is not None:
            self._doubted_s = None
        elif self._doubted_s is None and snapshot.grid.w.doubted:
            self._doubted_s = snapshot.mono_s

    def _lost_since_s(self, snapshot: Snapshot) -> float:
        """A reading that was doubted before it was lost has been held for as long already."""
        doubted = snapshot.grid.w.good is None and self._doubted_s is not None
        return self._doubted_s if doubted and self._doubted_s is not None else snapshot.mono_s


def _trouble(snapshot: Snapshot, raw: Meter | None, frozen: bool) -> Reason:
    """Why the net load is not known."""
    if snapshot.grid.w.good is None:
        if raw is not None and raw.w.good is not None:
            return Reason("lost.not_believed", {"meter": snapshot.grid.id})
        return Reason("lost.no_reading", {"meter": snapshot.grid.id})
    if frozen:
        return Reason("lost.stands_still", {"meter": snapshot.grid.id})
    return Reason("lost.pcs_never_read")
