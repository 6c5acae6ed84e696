"""Decides when a job can get the power it asks for, and at which peak; or gives the rule and figure against it.

The test is a path of import (`import_path`) with the job on top, and whether the battery holds it at a level. The
level that is kept anyway (the plan's peak, or the contract and the month's peak) costs nothing. A start that keeps it
is granted first, the earliest of them. Otherwise the peak may rise up to the contract, at the start that needs the
least of it; the answer gives the cost.

Energy that will be missing later, up to the plan's horizon, forbids nothing: a forecast that far is a guess. But the
rise it may cause is in the answer, with its cost. So is what a job costs by charges that add up what each interval has
above a contract, which no peak shows: of starts the cheapest is taken. A battery under a manual order carries nothing:
what the order discharges is gone, what it charges is import, and what it stores counts once it is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from dispatch.billing.demand_charge import ChargeTerms
from dispatch.billing.peak_charges import peak_charges
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.model.islanding import IslandState
from dispatch.model.plan import NEAR_W, Plan
from dispatch.model.reasons import Reason, joined
from dispatch.model.reservations import Reservation
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.reservation_book import with_reserved
from dispatch.planning.import_path import ImportPath
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.limit_room import Room, limit_reason, limit_room
from dispatch.planning.order_projection import battery_holder, holder_reason, local_iso

SHORTEST_S = 60.0
SLACK = 0.02  # of the level allowed: plans store to the point, meters and forecasts are not that exact
NAME_MAX = 32
CENT_EUR = 0.005  # less is told as 0.00 EUR


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
    cost_eur: float  # of that rise, in the month's or year's demand charge, and of what adds up above a contract
    why: Reason | None  # why not at once, or what it costs; None when there is nothing to say


def grant(
    asked: PowerRequest,
    inputs: PlanInputs,
    plan: Plan | None,
    island: IslandState,
    standing: Sequence[Reservation],
) -> Grant:
    """The start for this job. `standing`: what is promised now; the `inputs` know it too. Raises OrderRefused."""
    _check(asked, inputs, island, standing)
    held = _holder(inputs)
    try:
        found, site = _start(asked, inputs, plan)
    except OrderRefused as refusal:
        raise OrderRefused(joined([refusal.reason, *held])) from None
    after, above = _with_later_rise(asked, inputs, plan, site, found)
    excess_eur = _excess_eur(asked, inputs, plan, found) if site.adds else 0.0
    if excess_eur >= CENT_EUR:
        above = [Reason("power.excess", {"cost_eur": excess_eur, "per": _per(inputs.config)}), *above]
        after = msgspec.structs.replace(after, cost_eur=after.cost_eur + excess_eur)
    return msgspec.structs.replace(after, why=_all([*_said(after.why), *above, *held]))


def _excess_eur(asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, found: Grant) -> float:
    """What the job costs up to the plan's horizon by the charges that add up what is above a contract."""
    site = ImportPath.of(inputs, plan, inputs.now_utc_s + inputs.config.plan.horizon_h * 3600)
    return site.excess_eur(site.with_job(asked.power_w, found.start_utc_s, found.start_utc_s + asked.for_s))


def _start(asked: PowerRequest, inputs: PlanInputs, plan: Plan | None) -> tuple[Grant, ImportPath]:
    """The start itself, and the hours up to the job's end. Raises OrderRefused.

    Each start is looked at up to its own end, so that none is worth less to a job that could wait for others.
    """
    tried: list[tuple[float, float, ImportPath]] = []  # rise, start
    limited = Room()
    for start in _starts(inputs.now_utc_s, inputs.now_utc_s + asked.within_s):
        site = ImportPath.of(inputs, plan, start + asked.for_s)
        room = limit_room(site, inputs.signals, start, start + asked.for_s)
        if room.w < asked.power_w:
            limited = room
            continue
        path = site.with_job(asked.power_w, start, start + asked.for_s)
        held = site.can_hold(site.kept_w, path)
        if held and site.excess_eur(path) < CENT_EUR:
            return Grant(start, site.kept_w, 0.0, 0.0, _why_later(asked, inputs, plan, start)), site
        rise_w = 0.0 if held else max(0.0, site.need_w(asked.power_w, start, start + asked.for_s) - site.kept_w)
        tried.append((rise_w, start, site))
    if not tried:
        raise OrderRefused(_limit_refusal(asked, inputs, plan, limited))
    carried = [one for one in tried if one[0] + one[2].kept_w <= one[2].allowed_w + NEAR_W]
    if not carried:
        need_w, start, site = min(
            ((rise_w + site.kept_w, start, site) for rise_w, start, site in tried), key=lambda one: one[:2]
        )
        raise OrderRefused(_refusal(asked, inputs, plan, site, (need_w, start)))
    rise_w, start, site = _best(asked, carried)
    path = site.with_job(asked.power_w, start, start + asked.for_s)
    cost_eur, per = site.rise_eur(rise_w, site.kept_w, path), _per(inputs.config)
    level_w = site.kept_w + rise_w
    rise = Reason("power.rise", {"rise_w": rise_w, "level_w": level_w, "cost_eur": cost_eur, "per": per})
    why = _all([*_said(_why_later(asked, inputs, plan, start)), *([rise] if rise_w > 0 else [])])
    return Grant(start, level_w, rise_w, cost_eur, why), site


def _best(asked: PowerRequest, carried: Sequence[tuple[float, float, ImportPath]]) -> tuple[float, float, ImportPath]:
    """Of (rise, start, path) the lowest rise, the earliest of equals; where what is above a contract adds up, the least
    cost.
    """
    if not carried[0][2].adds:
        least_w = min(rise_w for rise_w, _, _ in carried)
        return next(one for one in carried if one[0] <= least_w + NEAR_W)
    costs_eur = []
    for rise_w, start, site in carried:
        path = site.with_job(asked.power_w, start, start + asked.for_s)
        costs_eur.append(site.rise_eur(rise_w, site.kept_w, path) + site.excess_eur(path))
    least_eur = min(costs_eur) + CENT_EUR
    return next(one for one, eur in zip(carried, costs_eur, strict=True) if eur <= least_eur)


def _holder(inputs: PlanInputs) -> list[Reason]:
    """Which manual order has the battery now; empty when none has."""
    order = battery_holder(inputs.orders, inputs.config, inputs.now_utc_s)
    return [] if order is None else [holder_reason(order, inputs.config)]


def _said(reason: Reason | None) -> list[Reason]:
    return [] if reason is None else [reason]


def _all(reasons: list[Reason]) -> Reason | None:
    """Several reasons as one; None for none."""
    return joined(reasons) if reasons else None


def _with_later_rise(
    asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, near: ImportPath, found: Grant
) -> tuple[Grant, list[Reason]]:
    """The grant with the rise that it may take until the plan's horizon, and what it does to the contract."""
    config, end_s = inputs.config, found.start_utc_s + asked.for_s
    horizon_s = inputs.now_utc_s + config.plan.horizon_h * 3600
    site = ImportPath.of(inputs, plan, horizon_s)
    path = site.with_job(asked.power_w, found.start_utc_s, end_s)
    without_w = site.level_w(site.net_kw, near.kept_w)
    with_w = site.level_w(path, max(without_w, found.level_w))
    rise_w, per = with_w - without_w, _per(config)
    later = rise_w > found.rise_w + 2 * NEAR_W  # each level is found to one of them
    if later:
        cost_eur = site.rise_eur(rise_w, without_w, path)
        line = Reason("power.rise_later", {"rise_w": rise_w, "level_w": with_w, "cost_eur": cost_eur, "per": per})
        before = [] if found.rise_w else _said(found.why)
        found = Grant(found.start_utc_s, with_w, rise_w, cost_eur, _all([*before, line]))
    contract_w = config.grid.contracted_peak_w
    if not later and near.can_hold(contract_w + NEAR_W, near.with_job(asked.power_w, found.start_utc_s, end_s)):
        return found, []
    if with_w <= contract_w + NEAR_W:
        return found, []
    bare_w = near.level_w(near.net_kw) if not later else without_w
    above = [Reason("power.above_contract", {"level_w": with_w, "contract_w": contract_w})]
    if bare_w > contract_w + NEAR_W:
        above.append(Reason("power.without_job", {"bare_w": bare_w}))
    elif inputs.month_peak_w > contract_w + NEAR_W:
        above.append(Reason("power.month_peak", {"peak_w": inputs.month_peak_w}))
    return found, above


def _per(config: DispatchConfig) -> str:
    """The period whose bills a rise is in, as a word."""
    pers = {
        "billing period" if isinstance(terms, ChargeTerms) and not terms.of_one_bill else terms.per
        for terms in peak_charges(config)
    }
    return pers.pop() if len(pers) == 1 else "billing period"


def without(former: Reservation, inputs: PlanInputs) -> PlanInputs:
    """The inputs as they would be without a reservation that is given back: it is in their load."""
    given_back = msgspec.structs.replace(former, power_w=-former.power_w)
    return msgspec.structs.replace(
        inputs,
        reservations=tuple(r for r in inputs.reservations if r.id != former.id),
        load=with_reserved(inputs.load, [given_back], inputs.now_utc_s),
    )


def shortfall(reservation: Reservation, inputs: PlanInputs, plan: Plan | None) -> Reason | None:
    """Why the site could not carry what is left of a reservation, as things stand; None when it can."""
    rest = tuple(r for r in inputs.reservations if r.id != reservation.id)
    rested = msgspec.structs.replace(inputs, reservations=rest)
    site = ImportPath.of(rested, plan, reservation.end_utc_s, inputs)
    path = site.with_job(reservation.power_w, reservation.start_utc_s, reservation.end_utc_s)
    if site.can_hold((1 + SLACK) * site.allowed_w, path):
        return None
    short = Reason("power.shortfall", {"rule": site.rule, "allowed_w": site.allowed_w, "need_w": site.level_w(path)})
    return joined([short, *_holder(inputs)])


# ── what is against it at once ──────────────────────────────────────────────────────────────────────────────────────


def _check(asked: PowerRequest, inputs: PlanInputs, island: IslandState, standing: Sequence[Reservation]) -> None:
    """Raise OrderRefused for what no start could mend."""
    config = inputs.config
    horizon_s = config.plan.horizon_h * 3600
    for what, value in (("power", asked.power_w), ("duration", asked.for_s), ("window", asked.within_s)):
        if not math.isfinite(value):
            raise OrderRefused(Reason("refused.no_number", {"field": what, "value": str(value)}))
    if asked.power_w <= 0:
        raise OrderRefused(Reason("refused.no_power", {"power_w": asked.power_w}))
    if asked.for_s < SHORTEST_S:
        raise OrderRefused(Reason("refused.short", {"for_s": asked.for_s, "least_s": SHORTEST_S}))
    if asked.within_s < 0:
        raise OrderRefused(Reason("refused.past_start", {"ago_s": -asked.within_s}))
    if asked.within_s + asked.for_s > horizon_s:
        ends_s = asked.within_s + asked.for_s
        raise OrderRefused(Reason("refused.beyond_plan", {"ends_s": ends_s, "horizon_s": horizon_s}))
    _check_identity(asked)
    if asked.power_w > config.grid.fuse_w:
        raise OrderRefused(Reason("refused.above_fuse", {"power_w": asked.power_w, "fuse_w": config.grid.fuse_w}))
    if island is not IslandState.GRID_TIED:
        raise OrderRefused(Reason("refused.promise_off_grid", {"state": island.value}))
    double = next((r for r in standing if r.of_job(asked.name, asked.cluster, asked.job_id)), None)
    if double is not None:
        raise OrderRefused(
            Reason(
                "refused.same_job",
                {
                    "name": asked.name or asked.job_id,
                    "reservation": double.id,
                    "who": double.who,
                    "power_w": double.power_w,
                    "start_local": local_iso(double.start_utc_s, config),
                    "end_local": local_iso(double.end_utc_s, config),
                },
            )
        )


def _check_identity(asked: PowerRequest) -> None:
    """Raise OrderRefused for a name or an id that cannot be shown, or a restart that cannot be."""
    for what, text in (("name", asked.name), ("cluster", asked.cluster), ("job", asked.job_id)):
        if len(text) > NAME_MAX or not text.isprintable() or text.strip() != text:
            raise OrderRefused(Reason("refused.name", {"field": what, "text": repr(text[:40]), "most": NAME_MAX}))
    if asked.restart < 0:
        raise OrderRefused(Reason("refused.restart", {"restart": asked.restart}))


def renewed(asked: PowerRequest, who: str, standing: Sequence[Reservation]) -> Reservation | None:
    """The reservation that this request of `who` renews: the same job's, as a scheduler asks that starts it again.

    Raises OrderRefused for a request of an earlier start of the job than the one it stands for.
    """
    own = next((r for r in standing if r.who == who and r.of_job(asked.name, asked.cluster, asked.job_id)), None)
    if own is not None and asked.restart < own.restart:
        raise OrderRefused(
            Reason(
                "refused.earlier_restart",
                {"job": asked.job_id, "reservation": own.id, "of_restart": own.restart, "restart": asked.restart},
            )
        )
    return own


def _starts(first_s: float, last_s: float) -> Iterator[float]:
    """At once, then on quarter hours up to the last: the plan's steps, so that it charges right up to the start."""
    yield first_s
    mark = (first_s // QUARTER_S + 1) * QUARTER_S
    while mark <= last_s:
        yield mark
        mark += QUARTER_S


# ── reasons ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _why_later(asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, start_s: float) -> Reason | None:
    now_s = inputs.now_utc_s
    if start_s <= now_s:
        return None
    site = ImportPath.of(inputs, plan, now_s + asked.for_s)
    room = limit_room(site, inputs.signals, now_s, now_s + asked.for_s)
    if room.w < asked.power_w:
        return Reason("power.limited", {"room_w": room.w, "limit": limit_reason(room, now_s, inputs.config)})
    need_w = site.need_w(asked.power_w, now_s, now_s + asked.for_s)
    return Reason("power.later", {"need_w": need_w, "kept_w": site.kept_w})


def _refusal(
    asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, site: ImportPath, best: tuple[float, float]
) -> Reason:
    config = inputs.config
    best_w, at_s = best
    stored = Reason("power.battery", {"stored_wh": 1000 * site.stored_kwh})
    return Reason(
        "refused.not_carried",
        {
            "rule": site.rule,
            "power_w": asked.power_w,
            "for_s": asked.for_s,
            "need_w": best_w,
            "start_local": local_iso(at_s, config),
            "allowed_w": site.allowed_w,
            "battery": stored if config.batteries else Reason("power.no_battery"),
            "otherwise": _otherwise(asked, inputs, plan),
        },
    )


def _limit_refusal(asked: PowerRequest, inputs: PlanInputs, plan: Plan | None, room: Room) -> Reason:
    """A limit of import that stands or is announced leaves no room, whenever the job starts."""
    limit = limit_reason(room, inputs.now_utc_s, inputs.config)
    otherwise = _otherwise(asked, inputs, plan)
    return Reason(
        "refused.limit_ahead", {"limit": limit, "power_w": asked.power_w, "room_w": room.w, "otherwise": otherwise}
    )


def _otherwise(asked: PowerRequest, inputs: PlanInputs, plan: Plan | None) -> Reason:
    """When it could start if it could wait longer."""
    config, horizon_s = inputs.config, inputs.config.plan.horizon_h * 3600
    for start in _starts(inputs.now_utc_s + asked.within_s, inputs.now_utc_s + horizon_s - asked.for_s):
        far = ImportPath.of(inputs, plan, start + asked.for_s)
        if limit_room(far, inputs.signals, start, start + asked.for_s).w < asked.power_w:
            continue
        if far.can_hold(far.allowed_w, far.with_job(asked.power_w, start, start + asked.for_s)):
            wait_s = start - inputs.now_utc_s
            return Reason("power.could_wait", {"start_local": local_iso(start, config), "wait_s": wait_s})
    return Reason("power.no_start", {"horizon_s": horizon_s})
