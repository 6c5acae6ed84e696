"""A proof in lock-step: twin, controller and procedure, advanced by one loop without sockets, threads or wall clock."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twin_sites import BATTERY, PCS, site_of

from dispatch.commissioning.preconditions import Site, checks
from dispatch.commissioning.procedure import Procedure
from dispatch.config.schema import DispatchConfig, GridConfig
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.equipment import Pcs, aged
from dispatch.model.islanding import Check
from dispatch.model.proofs import Proving
from dispatch.model.readings import Quality
from drivers.clock import VirtualClock
from drivers.twin.lockstep import LockstepSite

TICK_S = 0.25
SETTLE_TICKS = 20
MOST_TICKS = 1_500  # of a whole proof
REVERT_S = 8.0

Meddle = Callable[["ProofBench"], None]


class ProofBench:
    """One site on which a PCS is proven. `meddle` is called before each tick of the proof."""

    def __init__(self, load_w: float | Callable[[float], float] = 20_000.0, **twin: object) -> None:
        self.site = site_of(load_w, without=("pv",), **({"pcs_lag_s": 0.3, "meter_delay_s": 0.2} | twin))
        for pcs in self.site.pcs:
            pcs.ratings = msgspec.structs.replace(pcs.ratings, revert_s=REVERT_S)
        self.lockstep = LockstepSite(self.site, VirtualClock(self.site.start_utc_s))
        self.config = DispatchConfig(
            grid=GridConfig(fuse_a=160, contracted_peak_w=60_000, export_limit_w=60_000, meter_delay_max_s=0.5),
            timezone="Europe/Berlin",
            batteries=(BATTERY,),
            pcs=(PCS,),
        )
        self.controller, self.tick = Controller(self.config), 0
        self.decision: Decision | None = None
        self.procedure: Procedure | None = None
        self.order = ""  # a manual order that is in force
        self._ahead_s = 0.0  # what has been advanced of the tick to come

    def look(self) -> Site:
        """Advance to the next tick; the site as the procedure sees it."""
        self.lockstep.advance(TICK_S - self._ahead_s)
        self._ahead_s = 0.0
        self.tick += 1
        renewed_s = self.lockstep.renewed_s.get("pcs1")
        return Site(self.lockstep.snapshot(self.tick), self.decision, self.order, (), renewed_s)

    def write(self, proving: Proving | None) -> None:
        """Write what was decided, as late within the tick as the proof wants it."""
        assert self.decision is not None
        if proving is not None and proving.after_s:
            self.lockstep.advance(proving.after_s)
            self._ahead_s = proving.after_s
        self.lockstep.apply(self.decision)

    def settle(self, on_site: str = "Eve") -> tuple[Check, ...]:
        """Run without a proof until everything is adopted; the checks of one that would begin now."""
        for _ in range(SETTLE_TICKS):
            site = self.look()
            self.decision = self.controller.step(site.snapshot, None)
            self.lockstep.apply(self.decision)
        self._started = site
        return checks(self.config, "pcs1", site._replace(decision=self.decision), on_site)

    def prove(self, meddle: Meddle = lambda bench: None) -> Procedure:
        """Run a proof to its end."""
        self.settle()
        started = self._started._replace(decision=self.decision)
        self.procedure = Procedure(
            self.config, "pcs1", tick_s=TICK_S, revert_s=REVERT_S, revert_w=0.0, who="eve", started=started
        )
        for _ in range(MOST_TICKS):
            meddle(self)
            site = self.look()
            proving = self.procedure.step(site)
            self.decision = self.controller.step(site.snapshot, None, proving=proving)
            self.write(proving)
            if self.procedure.ended is not None:
                return self.procedure
        raise AssertionError("the proof has not ended")


class StepBench(ProofBench):
    """The same; it keeps when the power of the last step was asked for."""

    _asked = (0.0, 0.0)  # what, since when

    def write(self, proving: Proving | None) -> None:
        if proving is not None and proving.w != self._asked[0]:
            self._asked = proving.w, self.lockstep.clock.mono_s()
        super().write(proving)


class LateReadingsBench(StepBench):
    """The same with a PCS that is not read for two seconds around each step."""

    def __init__(self) -> None:
        super().__init__(pcs_lag_s=0.05)
        self._last: tuple[float, Pcs] | None = None

    def look(self) -> Site:
        site = super().look()
        snapshot = site.snapshot
        past_s = snapshot.mono_s - self._asked[1]
        if self._last is None or not 1.75 < past_s < 3.75:
            self._last = snapshot.mono_s, snapshot.pcs[0]
        read_s, pcs = self._last
        pcs = aged(pcs, snapshot.mono_s - read_s, Quality.GOOD)
        return site._replace(snapshot=msgspec.structs.replace(snapshot, pcs=(pcs,)))


class LateRenewalBench(StepBench):
    """The same with a PCS whose timer a new setpoint does not start anew, only its renewal later does."""

    def look(self) -> Site:
        site = super().look()
        by_change = site.renewed_s is not None and site.renewed_s - self._asked[1] < 1.0
        return site._replace(renewed_s=None) if by_change else site
