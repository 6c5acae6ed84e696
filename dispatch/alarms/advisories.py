"""What a person should know of the hours to come: no alarm, as nothing has happened yet and there is time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.plan import NEAR_W, Plan
from dispatch.model.reasons import Reason


class _Breach(msgspec.Struct, frozen=True):
    """A metering interval whose planned mean import is above the contract."""

    start_utc_s: float
    mean_w: float


class PlanAdvice:
    """Looks at each plan once. The running interval is left out: the alarm `peak-at-risk` speaks of that one."""

    def __init__(self, config: DispatchConfig) -> None:
        self._contract_w, self._interval_s = config.grid.contracted_peak_w, config.grid.metering_interval_s
        self._zone = ZoneInfo(config.timezone)
        self._plan: Plan | None = None
        self._breaches: tuple[_Breach, ...] = ()

    def now(self, plan: Plan | None, utc_s: float) -> tuple[Reason, ...]:
        """What must be known of the plan in force; empty: nothing."""
        if plan is not self._plan:
            self._plan, self._breaches = plan, () if plan is None else tuple(self._found(plan))
        ahead = [breach for breach in self._breaches if breach.start_utc_s > utc_s]
        if not ahead:
            return ()
        first, more = ahead[0], Reason("advisory.contract_more", {"more": float(len(ahead) - 1)})
        return (
            Reason(
                "advisory.contract",
                {
                    "start_local": datetime.fromtimestamp(first.start_utc_s, self._zone).isoformat(),
                    "over_w": first.mean_w - self._contract_w,
                    "contract_w": self._contract_w,
                    "more": more if len(ahead) > 1 else None,
                },
            ),
        )

    def _found(self, plan: Plan) -> Iterator[_Breach]:
        """Whole metering intervals of the plan, in order."""
        sums: dict[float, list[float]] = {}
        for step in plan.steps:
            sums.setdefault(step.start_utc_s // self._interval_s * self._interval_s, []).append(step.grid_w)
        whole = max(1, round(self._interval_s / plan.step_s))
        for start_utc_s, powers in sorted(sums.items()):
            mean_w = sum(powers) / len(powers)
            if len(powers) >= whole and mean_w > self._contract_w + NEAR_W:
                yield _Breach(start_utc_s, mean_w)
