"""A finished plan before its reasons: what each step does, and what the reasons ask of it again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from zoneinfo import ZoneInfo

from dispatch.billing.battery_ageing import least_eur_per_kwh
from dispatch.config.battery_ratings import full_soc_pct, mean_efficiency, reserve_soc_pct, wear_eur_per_kwh
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.job_outlook import ExpectedStart
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation
from dispatch.planning.step_limits import StepLimits

NEAR_PCT = 0.1


@dataclass(frozen=True)
class Sketch:
    """A finished plan before its reasons. Sequences hold one value for each step; W, %, EUR/kWh."""

    config: DispatchConfig
    starts_utc_s: Sequence[int]
    buy: Sequence[float]
    sell: Sequence[float]
    net_w: Sequence[float]  # load - pv
    battery_w: Sequence[float]
    grid_w: Sequence[float]
    soc_pct: Sequence[float]
    soc_now_pct: float
    keep_w: Sequence[float]  # import to keep for the sake of the peak; inf in hours that do not count towards it
    levels: Sequence[tuple[DemandTerms, ChargeLevel]]  # each charge on peaks, and what it leaves free
    keepers: Sequence[int]  # for each step the charge that `keep_w` is of
    now_utc_s: float = 0.0  # of the running step only the rest counts
    ready: Sequence[Sequence[float]] = ()  # `PeakOutlook.ready`: what a stored kWh spares if a pulse comes then
    reservations: Sequence[Reservation] = ()
    waiting_w: Sequence[float] = ()  # what `net_w` holds of jobs that wait in a queue; may end before the plan
    expected: Sequence[ExpectedStart] = ()  # the largest of those jobs, by power
    assumed: Sequence[bool] = ()  # steps whose price is not published
    curtail_w: Sequence[float] = ()  # what PV is limited by; empty: nowhere
    limits: StepLimits | None = None  # of signals and export; None: the site file's alone
    ordered: Sequence[Reason | None] = ()  # whose order has the battery, None where none
    balanced: Mapping[int, Reason] = field(default_factory=dict)  # steps of a balancing charge above soc_max
    prices_known: bool = True  # False: not even of past days, from which those not published are assumed

    @cached_property
    def zone(self) -> ZoneInfo:
        """The site's."""
        return ZoneInfo(self.config.timezone)

    @cached_property
    def first_day(self) -> date:
        """The local day on which the plan begins."""
        return datetime.fromtimestamp(self.starts_utc_s[0], self.zone).date()

    @cached_property
    def next_active(self) -> list[int]:
        """For each step, the next one in which the battery does something; the number of steps where there is none."""
        found, result = len(self.battery_w), []
        for t in range(len(self.battery_w) - 1, -1, -1):
            result.append(found)
            if abs(self.battery_w[t]) > NEAR_W:
                found = t
        return result[::-1]

    @cached_property
    def any_assumed(self) -> bool:
        """Whether any price is not published."""
        return any(self.assumed)

    @cached_property
    def discharges(self) -> list[int]:
        """The steps that discharge."""
        return [t for t, w in enumerate(self.battery_w) if w > NEAR_W]

    @cached_property
    def asked_w(self) -> Sequence[float]:
        """The import that signals and grid events ask for in each step; infinite: none does."""
        asked_kw = () if self.limits is None else self.limits.import_kw
        return [1000 * kw for kw in asked_kw] or [math.inf] * len(self.net_w)

    @cached_property
    def defends(self) -> list[bool]:
        """Whether without the battery the import of a step would pass the peak, or what is asked, for each step."""
        rows = zip(self.net_w, self.keep_w, self.asked_w, strict=True)
        return [net > min(keep, asked) + NEAR_W for net, keep, asked in rows]

    @cached_property
    def uses(self) -> dict[tuple[int, int], tuple[int | None, bool]]:
        """What `_use` found already, by where the uses begin and end among those that discharge."""
        return {}

    @cached_property
    def spares_pulses(self) -> list[bool]:
        """For each step, whether the energy stored on top at its end or later spares a pulse that may come then."""
        later, result = False, [False] * len(self.soc_pct)
        known = zip(range(len(self.soc_pct)), self.ready, self.soc_pct, strict=False)
        for t, layers, soc_pct in reversed(list(known)):
            result[t] = later = later or _spared(self, layers, soc_pct) > 0
        return result

    @cached_property
    def reserve_pct(self) -> float:
        """SoC of the reserve."""
        return reserve_soc_pct(self.config)

    @cached_property
    def top_pct(self) -> float:
        """SoC with every battery at its `soc_max`."""
        return full_soc_pct(self.config)

    @cached_property
    def losses(self) -> tuple[float, float, float, float]:
        """Efficiencies of charging and discharging; wear, and ageing at least depth, EUR/kWh: as the plan reckons."""
        return (*mean_efficiency(self.config), wear_eur_per_kwh(self.config), least_eur_per_kwh(self.config))

    @cached_property
    def mean_buy(self) -> float:
        """Mean price of import over the plan, EUR/kWh."""
        return sum(self.buy) / len(self.buy)


def _spared(plan: Sketch, layers: Sequence[float], soc_pct: float) -> float:
    """What the energy stored on top at this SoC would spare a pulse that comes then, as `PeakOutlook.ready`; >= 0."""
    reserve, width = plan.reserve_pct, plan.top_pct - plan.reserve_pct
    share = (soc_pct - NEAR_PCT - reserve) / width if width > 0 else 0.0
    return layers[min(max(int(share * len(layers)), 0), len(layers) - 1)] if layers else 0.0
