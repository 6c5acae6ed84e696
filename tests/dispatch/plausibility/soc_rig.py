"""A battery with a BMS that says what a test wants, before the SoC check; 100 kWh, 60 kW, read five times a second."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.model.equipment import Battery
from dispatch.model.readings import reading
from dispatch.plausibility.soc import SocCheck, SocMemory
from dispatch.wording.catalogue import words

TICK_S = 0.2
Report = float | None | Callable[[float], float | None]  # of the true SoC


class SocRig:
    """`soc_pct` is the truth; `report` of `run` is what the BMS says of it, by default the truth."""

    def __init__(self, soc_pct: float = 60.0) -> None:
        self.check = SocCheck(site_config())
        self.t_s, self.soc_pct = 0.0, soc_pct
        self.said: list[str] = []  # what was logged
        self.battery: Battery = a_battery(None)

    def run(
        self,
        seconds: float,
        w: float | None = 0.0,
        report: Report = lambda true_pct: true_pct,
        discharge_w: float = 60_000.0,
        charge_w: float = 60_000.0,
        **battery: object,
    ) -> SocRig:
        """Let time pass. w: of the PCS, > 0 discharges; None: the battery rests and its PCS is not read."""
        for _ in range(round(seconds / TICK_S)):
            self.t_s += TICK_S
            flow_w = w or 0.0
            stored_w = flow_w / 0.94 if flow_w > 0 else flow_w * 0.94
            self.soc_pct = min(max(self.soc_pct - stored_w * TICK_S / 3_600_000, 0.0), 100.0)
            pct = report(self.soc_pct) if callable(report) else report
            limits = {"discharge_limit_w": reading(discharge_w), "charge_limit_w": reading(charge_w)}
            snapshot = a_snapshot(self.t_s, 0.0, a_pcs(w), a_battery(pct, **(limits | battery)))
            (self.battery,) = self.check.check(snapshot)
            history = self.check.histories["bat1"]
            self.said += [words(d.why) for d in history.rejected] + [e.text for e in self.check.news]
            history.rejected.clear()
            self.check.news.clear()
        return self

    def again(self) -> SocRig:
        """The same after a restart of the gateway."""
        other = SocRig(self.soc_pct)
        other.t_s = self.t_s + 60
        other.check.restore(
            msgspec.msgpack.decode(msgspec.msgpack.encode(self.check.memory()), type=dict[str, SocMemory])
        )
        return other

    @property
    def pct(self) -> float | None:
        """What is reckoned with."""
        return self.battery.soc_pct.good

    @property
    def state(self) -> str:
        """What that rests on."""
        return self.battery.soc_state
