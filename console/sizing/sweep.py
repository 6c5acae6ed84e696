"""Calculates one point of a sizing: a replay of the site with another battery, PV or tariff, and its bill."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence

import msgspec

from console.replay.compare import ScoredPeriod, compare
from console.replay.engine import Case, Replay, Schedule
from console.replay.traces import Trace
from console.sizing.headroom import Headroom, headroom
from dispatch.billing.bill import Flow, bill
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.cross_checks import inconsistencies
from dispatch.config.schema import DispatchConfig, ReserveConfig
from dispatch.config.tariff_terms import TariffTerms

RANGE = re.compile(r"^(\d+(?:\.\d+)?)\s*\.\.\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*/\s*(\d+(?:\.\d+)?)$")
ONE = re.compile(r"^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$")
MOST_VALUES = 50  # of one axis
MOST_POINTS = 2000


class Point(msgspec.Struct, frozen=True, order=True):
    """What is varied; `tariff` is a name among `Base.tariffs`."""

    tariff: str
    pv_kwp: float
    energy_kwh: float
    power_kw: float
    nodes: int = 0  # more than the site has; each draws at most `Base.node_w`


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What every point shares."""

    config: DispatchConfig
    tariffs: dict[str, TariffTerms]
    prices: PriceSeries
    load: Trace
    pv: Trace  # of `pv_kwp`
    pv_kwp: float
    start_s: int
    end_s: int
    step_s: int
    soc_pct: float = 50.0
    notes: tuple[str, ...] = ()  # what must be said of the inputs
    node_w: float = 0.0  # what each added node draws at the highest load of the trace; 0: none is added


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The bills of one point, EUR over the stretch; `why` says what cannot be built, and then there are none."""

    point: Point
    why: str = ""
    bare_eur: float | None = None  # neither battery nor PV
    none_eur: float | None = None  # no battery
    own_eur: float | None = None
    best_eur: float | None = None  # perfect foresight
    co2_eur: tuple[float, float, float] = (0.0, 0.0, 0.0)  # price of CO2 of none, own and best: in no bill
    peak_kw: float | None = None  # the highest month's
    throughput_kwh: float | None = None
    headroom: Headroom | None = None  # None: no nodes were asked for

    def saving_pct(self, against: str) -> float | None:
        """Of the bill without battery ("battery"), or without battery and PV ("site"), which must be above 0.

        None where there is none: no bill, or one that is not a finite number.
        """
        before = self.none_eur if against == "battery" else self.bare_eur
        if before is None or self.own_eur is None or before <= 0:
            return None
        saved = 100 * (before - self.own_eur) / before
        return saved if math.isfinite(saved) else None

    @property
    def captured_pct(self) -> float | None:
        """Share of perfect foresight's saving, the price of CO2 with it; None where there is none to be had."""
        if self.none_eur is None or self.own_eur is None or self.best_eur is None:
            return None
        co2 = self.co2_eur
        none, own, best = self.none_eur + co2[0], self.own_eur + co2[1], self.best_eur + co2[2]
        return 100 * (none - own) / (none - best) if none - best > 0.005 else None


def values(text: str, unit: str) -> tuple[float, ...]:
    """ "50..200kWh/25", "100,200 kWh" or "100" as numbers. Raises ValueError saying what was expected."""
    expected = f"{text!r}: expected {unit} as 50..200{unit}/25, or as a list 50,100,200"
    found: list[float] = []
    for part in text.split(","):
        if match := RANGE.match(part.strip()):
            low, high, said, step = float(match[1]), float(match[2]), match[3], float(match[4])
            if high < low or step <= 0 or (high - low) / step > MOST_VALUES:
                raise ValueError(f"{expected}; from low to high in at most {MOST_VALUES} steps")
            found += [low + k * step for k in range(int((high - low) / step + 1e-9) + 1)]
        elif match := ONE.match(part.strip()):
            said = match[2]
            found.append(float(match[1]))
        else:
            raise ValueError(expected)
        if said.lower() not in ("", unit.lower()):
            raise ValueError(f"{expected}; not {said}")
    return tuple(sorted(set(found)))


def node_counts(text: str) -> tuple[int, ...]:
    """ "0..8/1" or "0,2,4" as whole numbers. Raises ValueError saying what was expected."""
    found = values(text, "nodes")
    if any(n % 1 for n in found):
        raise ValueError(f"{text!r}: expected whole numbers of nodes")
    return tuple(int(n) for n in found)


def points(
    energies_kwh: Sequence[float],
    powers_kw: Sequence[float],
    pvs_kwp: Sequence[float],
    tariffs: Sequence[str],
    nodes: Sequence[int] = (0,),
) -> list[Point]:
    """Every combination, in the order of the map. Raises ValueError for too many."""
    count = len(energies_kwh) * len(powers_kw) * len(pvs_kwp) * len(tariffs) * len(nodes)
    if count > MOST_POINTS:
        raise ValueError(f"{count} points: expected at most {MOST_POINTS}")
    return [Point(*of) for of in itertools.product(tariffs, pvs_kwp, energies_kwh, powers_kw, nodes)]


def configured(base: Base, point: Point) -> DispatchConfig:
    """The site with this battery and tariff: batteries and PCS keep their proportions. Raises ValueError."""
    config = msgspec.structs.replace(base.config, tariff=base.tariffs[point.tariff])
    if point.energy_kwh == 0 or point.power_kw == 0:
        return msgspec.structs.replace(config, batteries=(), pcs=(), reserve=ReserveConfig())
    energy, power = point.energy_kwh / config.energy_kwh, point.power_kw * 1000 / config.discharge_w
    config = msgspec.structs.replace(
        config,
        batteries=tuple(msgspec.structs.replace(b, energy_kwh=b.energy_kwh * energy) for b in config.batteries),
        pcs=tuple(
            msgspec.structs.replace(p, charge_w=p.charge_w * power, discharge_w=p.discharge_w * power)
            for p in config.pcs
        ),
    )
    for key, value, expected in inconsistencies(config):
        raise ValueError(f"{key} = {value}: expected {expected}")
    return config


def play(base: Base, point: Point, stopped: Callable[[], bool] = lambda: False) -> Outcome | None:
    """Replay one point; None when `stopped` before its end."""
    try:
        config = configured(base, point)
    except ValueError as error:
        return Outcome(point=point, why=str(error))
    case = Case(
        config=config,
        prices=base.prices,
        load=scaled(base.load, load_factor(base, point.nodes)),
        pv=scaled(base.pv, point.pv_kwp / base.pv_kwp if base.pv_kwp else 0.0),
        start_s=base.start_s,
        end_s=base.end_s,
        step_s=base.step_s,
        soc_pct=base.soc_pct,
    )
    run = Replay(case)
    for _ in run.run():
        if stopped():
            return None
    if base.node_w > 0:
        return _with_nodes(base, point, case, run.schedule)
    bills = compare(case, run.schedule).bills
    none, own, best = (bills[name] for name in ("none", "skerry", "perfect_foresight"))
    return Outcome(
        point=point,
        bare_eur=_bare_eur(case),
        none_eur=none.total_eur,
        own_eur=own.total_eur,
        best_eur=best.total_eur,
        co2_eur=(none.co2_eur, own.co2_eur, best.co2_eur),
        peak_kw=max(own.peaks_w.values(), default=0.0) / 1000,
        throughput_kwh=own.throughput_kwh,
    )


def _with_nodes(base: Base, point: Point, case: Case, schedule: Schedule) -> Outcome:
    """What the added nodes mean for contract, caps and bill; without perfect foresight, which takes long."""
    stretch = ScoredPeriod(case, schedule.end_s)
    stored_kwh = (schedule.soc_pct[-1] - case.soc_pct) / 100 * case.config.energy_kwh
    own = stretch.charge(schedule.battery_w, case.step_s, stored_kwh, schedule.shed_w)
    none = stretch.charge([0.0] * len(schedule), case.step_s)
    return Outcome(
        point=point,
        none_eur=none.total_eur,
        own_eur=own.total_eur,
        peak_kw=max(own.peaks_w.values(), default=0.0) / 1000,
        throughput_kwh=own.throughput_kwh,
        headroom=headroom(case.config, stretch.flow(schedule.battery_w, case.step_s, schedule.shed_w)),
    )


def load_factor(base: Base, nodes: int) -> float:
    """What the load is times with so many more nodes: each is as busy as the site, `node_w` at its highest load."""
    highest_w = max(base.load.w, default=0.0)
    return 1.0 + nodes * base.node_w / highest_w if highest_w > 0 else 1.0


def scaled(trace: Trace, factor: float) -> Trace:
    """The same trace with other power."""
    return Trace(trace.start_s, trace.step_s, [factor * w for w in trace.w], trace.notes)


def _bare_eur(case: Case) -> float:
    """What the load alone would have cost."""
    stretch = ScoredPeriod(case, case.end_s)
    idle = [0.0] * len(stretch.load_w)
    flow = Flow(
        start_utc_s=case.start_s,
        step_s=stretch.fine_s,
        load_w=stretch.load_w,
        pv_w=idle,
        eur_per_mwh=stretch.eur_per_mwh,
        battery_w=idle,
    )
    return bill(case.config, flow).total_eur
