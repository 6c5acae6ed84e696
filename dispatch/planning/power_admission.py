"""Decides when a job can get the power it asks for, and at which peak; or gives the rule and figure against it.

The test is a path of import (`import_path`) with the job on top, and whether the battery holds it at a level. The
level that is kept anyway (the plan's peak, or the contract and the month's peak) costs nothing. A start that keeps it
is granted first, the earliest of them. Otherwise the peak may rise up to the contract, at the start that needs the
least of it; the answer gives the cost.

Energy that will be missing later, up to the plan's horizon, forbids nothing: a forecast that far is a guess. But the
rise it may cause is in the answer, with its cost. A battery under a manual order carries nothing: what the order
discharges is gone, what it charges is import, and what it stores counts once it is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from dispatch.model.forecast import QUARTER_S
from dispatch.model.islanding import IslandState
from dispatch.model.orders import OrderRefused
from dispatch.model.plan import NEAR_W, Plan
from dispatch.model.reservations import Reservation
from dispatch.orders.reservation_book import with_reserved
from dispatch.planning.import_path import ImportPath
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.order_projection import battery_holder, holder_reason, local_time
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw, span

SHORTEST_S = 60.0
SLACK = 0.02  # of the level allowed: plans store to the point, meters and forecasts are not that exact
NAME_MAX = 32


class PowerRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job asks for. `within_s`: how long it may wait for its start.

    `cluster`, `job_id`, `restart`: the scheduler's name, its id of the job, how often it has started it again.
    """

    power_w: float
    for_s: float
    within_s: float = 0.0
    name: str = ""
    cluster: str = ""
    job_id: str = ""
    restart: int = 0


class Grant(msgspec.Struct, frozen=True):
    """A start the site can carry."""

    start_utc_s: float
    level_w: float  # the import it takes, as far as the forecast goes
    rise_w: float  # of it above what is kept anyway
    cost_eur: float  # of that rise, in the month's or year's demand charge
    why: str  # why not at once, or what it costs; empty when there is nothing to say


def grant(
    asked: PowerRequest,
    inputs: PlanInputs,
    plan: Plan | None,
    island: IslandState,
    standing: Sequence[Reservation],
) -> Grant:
    """The start for this job. `standing`: what is promised now; the `inputs` know it too. Raises OrderRefused."""
    _check(asked, inputs, island, standing)
    held = _holder_text(inputs)
    try:
        found, site = _start(asked, inputs, plan)
    except OrderRefused as refusal:
        raise OrderRefused(refusal.rule, "; ".join(filter(None, (refusal.line, held)))) from None
    after, above = _with_later_rise(asked, inputs, plan, site, found)
    why = "; ".join(filter(None, (after.why, above, held)))
    return msgspec.structs.replace(after, why=why)


def _start(asked: PowerRequest, inputs: PlanInputs, plan: Plan | None) -> tuple[Grant, ImportPath]:
    """The start itself, and the hours up to the job's end. Raises OrderRefused.

    Each start is looked at up to its own end, so that none is worth less to a job that could wait for others.
    """
    tried: list[tuple[float, float, ImportPath]] = []  # rise, start
    for start in _starts(inputs.now_utc_s, inputs.now_utc_s + asked.within_s):
        site = ImportPath.of(inputs, plan, start + asked.for_s)
        if site.can_hold(site.kept_w, site.with_job(asked.power_w, start, start + asked.for_s)):
            return Grant(start, site.kept_w, 0.0, 0.0, _why_later(asked, inputs, plan, start)), site
        tried.append((max(0.0, site.need_w(asked.power_w, start, start + asked.for_s) - site.kept_w), start, site))
    carried = [one for one in tried if one[0] + one[2].kept_w <= one[2].allowed_w + NEAR_W]
    if not carried:
        need_w, start, site = min(
            ((rise_w + site.kept_w, start, site) for rise_w, start, site in tried), key=lambda one: one[:2]
        )
        raise OrderRefused(site.rule, _refusal(asked, inputs, plan, site, (need_w, start)))
    least_w = min(rise_w for rise_w, _, _ in carried)
    rise_w, start, site = next(one for one in carried if one[0] <= least_w + NEAR_W)  # the earliest of equals
    terms = inputs.config.tariff.demand_terms
    cost_eur = rise_w / 1000 * terms.rise_eur_per_kw
    level_w = site.kept_w + rise_w
    why = f"the peak may rise by {kw(rise_w)} to {kw(level_w)}: {cost_eur:.2f} EUR this {terms.per}"
    later = _why_later(asked, inputs, plan, start)
    return Grant(start, level_w, rise_w, cost_eur, f"{later}; {why}" if later else why), site


def _holder_text(inputs: PlanInputs) -> str:
    """Which manual order has the battery now, in words; empty when none has."""
    order = battery_holder(inputs.orders, inputs.config, inputs.now_utc_s)
    return "" if order is None else words(holder_reason(order, inputs.config))


def _with_later_rise(
    asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, near: ImportPath, found: Grant
) -> tuple[Grant, str]:
    """The grant with the rise that it may take until the plan's horizon, and what it does to the contract, in words."""
    config, end_s = inputs.config, found.start_utc_s + asked.for_s
    horizon_s = inputs.now_utc_s + config.plan.horizon_h * 3600
    site = ImportPath.of(inputs, plan, horizon_s)
    path = site.with_job(asked.power_w, found.start_utc_s, end_s)
    without_w = site.level_w(site.net_kw, near.kept_w)
    with_w = site.level_w(path, max(without_w, found.level_w))
    rise_w, terms = with_w - without_w, config.tariff.demand_terms
    later = rise_w > found.rise_w + 2 * NEAR_W  # each level is found to one of them
    if later:
        cost_eur = rise_w / 1000 * terms.rise_eur_per_kw
        risen = f"the peak may rise by {kw(rise_w)} to {kw(with_w)}: {cost_eur:.2f} EUR"
        line = f"the battery then lacks its energy later: {risen}"
        why = "; ".join(filter(None, (found.why if not found.rise_w else "", f"{line} this {terms.per}")))
        found = Grant(found.start_utc_s, with_w, rise_w, cost_eur, why)
    contract_w = config.grid.contracted_peak_w
    if not later and near.can_hold(contract_w + NEAR_W, near.with_job(asked.power_w, found.start_utc_s, end_s)):
        return found, ""
    if with_w <= contract_w + NEAR_W:
        return found, ""
    bare_w = near.level_w(near.net_kw) if not later else without_w
    cause = f"without the job {kw(bare_w)}" if bare_w > contract_w + NEAR_W else ""
    if not cause and inputs.month_peak_w > contract_w + NEAR_W:
        cause = f"the month's peak is {kw(inputs.month_peak_w)} already"
    above = f"import may reach {kw(with_w)}, above the contract of {kw(contract_w)}"
    return found, f"{above}; {cause}" if cause else above


def without(former: Reservation, inputs: PlanInputs) -> PlanInputs:
    """The inputs as they would be without a reservation that is given back: it is in their load."""
    given_back = msgspec.structs.replace(former, power_w=-former.power_w)
    return msgspec.structs.replace(
        inputs,
        reservations=tuple(r for r in inputs.reservations if r.id != former.id),
        load=with_reserved(inputs.load, [given_back], inputs.now_utc_s),
    )


def shortfall(reservation: Reservation, inputs: PlanInputs, plan: Plan | None) -> str:
    """Why the site could not carry what is left of a reservation, as things stand; empty when it can."""
    rest = tuple(r for r in inputs.reservations if r.id != reservation.id)
    held = _holder_text(inputs)
    rested = msgspec.structs.replace(inputs, reservations=rest)
    site = ImportPath.of(rested, plan, reservation.end_utc_s, inputs)
    path = site.with_job(reservation.power_w, reservation.start_utc_s, reservation.end_utc_s)
    if site.can_hold((1 + SLACK) * site.allowed_w, path):
        return ""
    line = f"{site.rule} allows an import of {kw(site.allowed_w)}, it would take {kw(site.level_w(path))}"
    return f"{line}; {held}" if held else line


# ── what is against it at once ──────────────────────────────────────────────────────────────────────────────────────


def _check(asked: PowerRequest, inputs: PlanInputs, island: IslandState, standing: Sequence[Reservation]) -> None:
    """Raise OrderRefused for what no start could mend."""
    config = inputs.config
    horizon_s = config.plan.horizon_h * 3600
    for what, value in (("power", asked.power_w), ("duration", asked.for_s), ("window", asked.within_s)):
        if not math.isfinite(value):
            raise OrderRefused(what, f"expected a number, got {value}")
    if asked.power_w <= 0:
        raise OrderRefused("power", f"{kw(asked.power_w)}: a job asks for more than 0 kW")
    if asked.for_s < SHORTEST_S:
        raise OrderRefused("duration", f"{asked.for_s:g} s: at least {SHORTEST_S:g} s")
    if asked.within_s < 0:
        raise OrderRefused("in the past", f"a start {span(-asked.within_s)} ago cannot be granted")
    if asked.within_s + asked.for_s > horizon_s:
        line = f"{span(asked.within_s + asked.for_s)} from now to its end; the site plans {span(horizon_s)} ahead"
        raise OrderRefused("plan.horizon_h", line)
    _check_identity(asked)
    if asked.power_w > config.grid.fuse_w:
        raise OrderRefused("fuse", f"{kw(asked.power_w)} is more than the {kw(config.grid.fuse_w)} that it carries")
    if island is not IslandState.GRID_TIED:
        raise OrderRefused("islanding", f"the site is {island.value}; power is promised when it is grid-tied")
    double = next((r for r in standing if r.of_job(asked.name, asked.cluster, asked.job_id)), None)
    if double is not None:
        line = (
            f"{asked.name or asked.job_id} has reservation {double.id} of {double.who}, {kw(double.power_w)} from "
            f"{local_time(double.start_utc_s, config)} to {local_time(double.end_utc_s, config)}; withdraw that first"
        )
        raise OrderRefused("one reservation per job", line)


def _check_identity(asked: PowerRequest) -> None:
    """Raise OrderRefused for a name or an id that cannot be shown, or a restart that cannot be."""
    for what, text in (("name", asked.name), ("cluster", asked.cluster), ("job", asked.job_id)):
        if len(text) > NAME_MAX or not text.isprintable() or text.strip() != text:
            raise OrderRefused(what, f"{text[:40]!r}: expected at most {NAME_MAX} printable characters")
    if asked.restart < 0:
        raise OrderRefused("restart", f"{asked.restart}: expected how often the job was started again, 0 or more")


def renewed(asked: PowerRequest, who: str, standing: Sequence[Reservation]) -> Reservation | None:
    """The reservation that this request of `who` renews: the same job's, as a scheduler asks that starts it again.

    Raises OrderRefused for a request of an earlier start of the job than the one it stands for.
    """
    own = next((r for r in standing if r.who == who and r.of_job(asked.name, asked.cluster, asked.job_id)), None)
    if own is not None and asked.restart < own.restart:
        line = f"job {asked.job_id} was started again since: {own.id} is of restart {own.restart}, not {asked.restart}"
        raise OrderRefused("restart", line)
    return own


def _starts(first_s: float, last_s: float) -> Iterator[float]:
    """At once, then on quarter hours up to the last: the plan's steps, so that it charges right up to the start."""
    yield first_s
    mark = (first_s // QUARTER_S + 1) * QUARTER_S
    while mark <= last_s:
        yield mark
        mark += QUARTER_S


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _why_later(asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, start_s: float) -> str:
    now_s = inputs.now_utc_s
    if start_s <= now_s:
        return ""
    site = ImportPath.of(inputs, plan, now_s + asked.for_s)
    need_w = site.need_w(asked.power_w, now_s, now_s + asked.for_s)
    return f"started at once it would take an import of {kw(need_w)}, {kw(site.kept_w)} is kept"


def _refusal(
    asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, site: ImportPath, best: tuple[float, float]
) -> str:
    config = inputs.config
    best_w, at_s = best
    battery = (
        f"the battery has {site.stored_kwh:.1f} kWh above its reserve now" if config.batteries
        else "there is no battery to help"
    )  # fmt: skip
    line = (
        f"{kw(asked.power_w)} for {span(asked.for_s)} takes an import of {kw(best_w)} at best, started at "
        f"{local_time(at_s, config)}; {kw(site.allowed_w)} is allowed, {battery}"
    )
    latest_s = inputs.now_utc_s + config.plan.horizon_h * 3600 - asked.for_s
    for start in _starts(inputs.now_utc_s + asked.within_s, latest_s):
        far = ImportPath.of(inputs, plan, start + asked.for_s)
        if far.can_hold(far.allowed_w, far.with_job(asked.power_w, start, start + asked.for_s)):
            wait = span(start - inputs.now_utc_s)
            return f"{line}; it could start at {local_time(start, config)}: let it wait {wait}"
    return f"{line}; no start within {span(config.plan.horizon_h * 3600)} would do"
