"""Formats `skerry status` as text: aligned, without colour, each number with its limit, stale and missing marked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from console.cli.line_formats import KW_WIDTH, caps_words, flow, mark, mode_words
from console.cli.status_rows import alarm_rows, device_rows, limit_rows, row
from console.display import language
from console.display.battery_text import battery_faults
from console.display.cap_text import cap_lines
from console.display.event_text import event_words
from console.display.formats import (
    date_clock_zone,
    elapsed,
    fetched_text,
    hour_minute,
    hour_minute_zone,
    weekday_hour_minute,
    zone_named,
)
from console.display.import_limit import interval_limit
from console.display.islanding_text import (
    cause_word,
    in_normal_operation,
    island_state,
    islanding_view,
    left_grid_utc_s,
    next_step_text,
    node_order_lines,
    nodes_run_text,
    off_grid,
    runtime_texts,
    switch_open,
)
from console.display.language import say, say_n, say_of
from console.display.queue_text import power_lines, queue_sentence
from console.display.signal_text import signal_words
from console.display.status_text import (
    clock_texts,
    doubt_word,
    limiting_texts,
    seen_text,
    state_name,
    unmeasured_texts,
    why_text,
)
from console.display.ups_text import ups_texts
from console.display.viewmodel import Link, Model, peak_is_lower_bound, soc_gap, soc_reading
from dispatch.control.contact_states import contact_reason
from dispatch.control.exit_behaviour import if_gateway_dies
from dispatch.model.equipment import COUNTED
from dispatch.model.islanding import OPEN_STATES, IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import Quality, Reading, worst_of
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import asked as order_asked
from dispatch.wording.formatting import kw, span
from gateway.api.protocol import IqNow, Published, TariffNow, Welcome


def lines(published: Published, welcome: Welcome) -> Iterator[str]:
    """The whole status, line by line."""
    zone, snapshot, limits = zone_named(welcome.timezone), published.snapshot, welcome.limits
    model = Model(link=Link.LIVE, welcome=welcome, published=published)
    yield f"{welcome.site} · {_state(model, published)} · {date_clock_zone(snapshot.utc_s, zone)}"
    yield _gateway(published, welcome)
    if published.clock is not None and published.clock.machine_utc_s is not None:
        yield row("row.clock", *clock_texts(published.clock))
    yield ""
    yield row("row.grid", *_grid(model, published, limits))
    room = not off_grid(model)
    paused = (say("status.paused"),) if island_state(model) is IslandState.GENSET else ()
    yield row("row.interval", *_interval(published.interval, snapshot.utc_s, room), *paused, _peak(published, welcome))
    lasts = [say("status.lasts", runtime=runtime_texts(model)[0])] if island_state(model) in OPEN_STATES else []
    yield row("row.battery", _sum(snapshot, "pcs"), *_state_of_charge(model, limits), *lasts)
    yield row(
        "row.pv",
        _sum(snapshot, "pv"),
        *([say("status.of_peak", kw=kw(limits["pv_peak_w"]))] if limits.get("pv_peak_w") else []),
    )
    yield from limit_rows(published.decision)
    yield row("row.load", _load(snapshot), *_pulse(published))
    if asked := [text for text, _ in node_order_lines(model)]:
        yield row("row.nodes", nodes_run_text(model), *asked)
    yield from _queues_contacts_and_ups(published)
    yield row("row.tariff", *_tariff(published.tariff, snapshot.utc_s, zone))
    if published.iq is not None:
        yield row("row.iq", *_iq(published.iq))
    yield row("row.why", why_text(model))
    for n, pcs in enumerate(snapshot.pcs):
        then = language.words(if_gateway_dies(pcs, published.decision, snapshot.devices))
        doubt = doubt_word((pcs.mode, pcs.setpoint_enabled, pcs.setpoint_w, pcs.revert_after_s, pcs.revert_to_w))
        yield row("" if n else "row.on_crash", say("status.doubtful", what=then, doubt=doubt) if doubt else then)
    if not in_normal_operation(model):
        yield row("row.next", next_step_text(model))
    yield from _orders(published, zone)
    for n, view in enumerate(published.signals):
        what, effect = signal_words(view, snapshot.utc_s, zone)
        yield row("" if n else "row.signals", f"{view.signal.id}  {what}{f', {effect}' if effect else ''}")
    for n, state in enumerate(published.grid_events):
        line = f"{state.event.id}  {event_words(state, snapshot.utc_s, zone)}"
        yield row("" if n else "row.event", line)
    yield from _caps(published)
    if published.last_drill is not None or published.drill_plan is not None:
        yield row("row.drill", *_drill(published, zone))
    yield from _reservations(published, zone)
    for advisory in published.advisories:
        yield row("row.advisory", language.words(advisory))
    yield from alarm_rows(published, zone)
    yield from device_rows(snapshot)


def _orders(published: Published, zone: tzinfo) -> Iterator[str]:
    for n, order in enumerate(published.orders):
        what, until = (
            language.words(order_asked(order.kind, order.value, order.target)),
            hour_minute_zone(order.ends_utc_s, zone),
        )
        figures = {"what": what, "until": until, "left": span(order.left_s(published.snapshot.mono_s))}
        text = say("status.order", id=order.id, who=order.who, reason=order.reason, **figures)
        yield row("" if n else "row.orders", text.rstrip(": ："))


def _reservations(published: Published, zone: tzinfo) -> Iterator[str]:
    for n, r in enumerate(published.reservations):
        start, end = hour_minute_zone(r.start_utc_s, zone), hour_minute_zone(r.end_utc_s, zone)
        whose = say("status.name_of", name=r.name, who=r.who) if r.who else say("status.other_user")
        yield row(
            "" if n else "row.reserved",
            say("status.reserved", id=r.id, kw=kw(r.power_w), start=start, end=end, whose=whose),
        )


def _caps(published: Published) -> Iterator[str]:
    """Caps for the month's peak, and every cap that is to hold, whoever asks for it."""
    if (caps := published.decision.caps) is not None and (caps.nodes or caps.not_counted):
        yield row("row.caps", caps_words(caps))
    for n, line in enumerate(cap_lines(published)):
        yield row("" if n else "row.capped", line)


def _queues_contacts_and_ups(published: Published) -> Iterator[str]:
    """Every queue of jobs, contacts that are not at rest, and every UPS."""
    for n, queue in enumerate(published.queues):
        yield row("" if n else "row.jobs", queue_sentence(queue))
        yield from (row("", line) for line in power_lines(queue))
    noted = [c for c in published.decision.contacts if c.latched or c.state != "inactive" or not c.read]
    for n, contact in enumerate(noted):
        yield row("" if n else "row.contacts", language.words(contact_reason(contact)))
    for n, ups in enumerate(published.snapshot.ups):
        yield row("" if n else "row.ups", *ups_texts(ups))


def _gateway(published: Published, welcome: Welcome) -> str:
    loop = published.loop
    site = say("status.simulated", speed=f"{welcome.speed:g}") if welcome.simulated else say("status.live")
    minutes = max(0.0, published.snapshot.utc_s - welcome.started_utc_s) / 60
    p50, p999 = f"{loop.lateness_p50_ms:.1f}", f"{loop.lateness_p999_ms:.1f}"
    return say(
        "status.gateway",
        site=site,
        pid=welcome.pid,
        minutes=f"{minutes:.0f}",
        hz=f"{welcome.rate_hz:g}",
        late=say("status.late", p50=p50, p999=p999, overruns=loop.overruns),
        consoles=say_n("status.consoles", loop.consoles),
    )


def _state(model: Model, published: Published) -> str:
    """The state at the PCC and who steers; away from the grid for how long, and whether in a drill or an outage."""
    view, cause = islanding_view(model), cause_word(model)
    if view is None or not off_grid(model):
        return mode_words(published.decision) + (f", {cause}" if cause else "")
    away = elapsed(published.snapshot.utc_s - left_grid_utc_s(view))
    return f"{state_name(island_state(model))} {away}" + (f", {cause}" if cause else "")


def _grid(model: Model, published: Published, limits: dict[str, float]) -> Iterator[str]:
    """Import and what bounds it; behind an open switch since when it is, and the grid as the switch sees it."""
    snapshot = published.snapshot
    grid = snapshot.grid.w
    told = f" {say('flow.frozen')}" if published.decision.meter_frozen else mark(grid)
    if island_state(model) is IslandState.GENSET:
        rated_w = limits.get("genset_w")
        yield flow(grid.value, say("flow.generator"), say("status.into_generator")) + told
        yield from () if rated_w is None else (say("status.rated", kw=kw(rated_w)),)
        return
    if not switch_open(snapshot.switches):
        yield flow(grid.value, say("quantity.import"), say("quantity.export")) + told
        yield from (say("flow.not_closed_long"),) if off_grid(model) else _grid_limits(limits)
        return
    yield f"{kw(grid.value):>{KW_WIDTH}} {say('flow.open')}{told}"
    if (view := islanding_view(model)) is not None:
        yield say("flow.since", time=hour_minute(left_grid_utc_s(view), model.timezone))
    switch = snapshot.switches[0]
    if doubt := doubt_word((switch.position, switch.source, switch.grid_voltage, switch.grid_v, switch.grid_hz)):
        yield doubt
    yield say("flow.grid_voltage", voltage=seen_text(switch.grid_voltage.good))
    if switch.grid_v.good is not None and switch.grid_hz.good is not None:
        yield f"{switch.grid_hz.good:.2f} Hz {switch.grid_v.good:.0f} V"


def _grid_limits(limits: dict[str, float]) -> Iterator[str]:
    if "contracted_peak_w" in limits:
        yield say("status.contracted_peak", kw=kw(limits["contracted_peak_w"]))
    if "fuse_w" in limits:
        yield say("status.fuse", kw=kw(limits["fuse_w"]))


def _interval(interval: Interval, utc_s: float, room: bool) -> Iterator[str]:
    """Energy, time left, and with `room` what may still be imported: off the grid that means nothing."""
    left_s = max(0, round(interval.start_utc_s + interval.length_s - utc_s))
    allowed_kwh = interval.limit_w * interval.length_s / 3.6e6
    energy = "—" if interval.never_read else f"{interval.energy_wh / 1000:.2f}"
    yield say("status.energy", energy=energy, allowed=f"{allowed_kwh:.2f}")
    left_w, left = None if interval.never_read else interval.left_w, f"{left_s // 60}:{left_s % 60:02d}"
    yield say("status.room", left=left, kw=kw(left_w)) if room else say("status.left", left=left)
    word, limit_w = interval_limit(interval)
    yield say("status.mean_below", word=say(f"limit.{word}"), kw=kw(limit_w))
    yield from unmeasured_texts(interval)


def _peak(published: Published, welcome: Welcome) -> str:
    """What the demand charge is on so far; a lower bound where intervals of it were not measured."""
    terms, billed_w, now = welcome.demand, published.billed_peak_w, published.charges

    def figure(w: float) -> str:
        return say("status.at_least", kw=kw(w)) if peak_is_lower_bound(published) else kw(w)

    if now is not None:
        text = limiting_texts(now, welcome.timezone)[0]
        return say("status.free", what=text, kw=figure(now.free_w)) if now.charge else text
    if terms is None or billed_w is None:
        return say("status.peak_month", kw=figure(published.month_peak_w))
    if terms.top_days == 1:
        return say(f"status.peak_{terms.per}", kw=figure(billed_w))
    return say(f"status.days_{terms.per}", n=terms.top_days, kw=figure(billed_w))


def _sum(snapshot: Snapshot, what: str) -> str:
    """Power of all PCS or PV inverters; with one not good, the last values known, marked."""
    readings: list[Reading] = [p.w for p in (snapshot.pcs if what == "pcs" else snapshot.pv)]
    if not readings:
        return say("status.none_here")
    codes = (
        ("direction.discharge", "direction.charge") if what == "pcs" else ("status.production", "status.consumption")
    )
    words = [say(code) for code in codes]
    known = [r.value for r in readings if r.value is not None]
    text = flow(sum(known) if len(known) == len(readings) else None, *words)
    if what == "pv" and snapshot.pv and all(pv.asleep for pv in snapshot.pv):
        return f"{kw(0.0):>{KW_WIDTH}} {say('flow.asleep')}"
    stale = [r for r in readings if r.quality in (Quality.STALE, Quality.SUSPECT)]
    if what == "pcs" and any(pcs.w_estimated for pcs in snapshot.pcs):
        text += say("status.estimated")
    return text + (mark(max(stale, key=lambda r: r.age_s or 0.0)) if stale else "")


def _state_of_charge(model: Model, limits: dict[str, float]) -> Iterator[str]:
    """Each battery's SoC; of several also the site's, or how many of them are known."""
    batteries = () if model.published is None else model.published.snapshot.batteries
    for battery in batteries:
        reported = battery.soc_reported_pct.value
        counted = f" {say('status.counted_from')}" if battery.soc_state in COUNTED else ""
        not_believed = say("status.not_believed", pct=f"{reported or 0.0:.1f}")
        doubted = "" if reported is None else f"{counted} {not_believed}"
        unusual = "".join(f", {text}" for text in battery_faults(battery))
        yield f"{battery.id} {_soc(battery.soc_pct)}{doubted}{unusual}"
    if len(batteries) > 1:
        yield say("status.site", soc=_soc(soc_reading(model))) + (f" ({gap})" if (gap := soc_gap(model)) else "")
    if batteries and "reserve_soc_pct" in limits:
        yield say("status.reserve", pct=f"{limits['reserve_soc_pct']:.1f}")


def _soc(soc: Reading) -> str:
    return say("status.soc", pct="—" if soc.value is None else f"{soc.value:.1f}") + mark(soc)


def _load(snapshot: Snapshot) -> str:
    """By balance; where a part of it is missing, by the load's own meter if there is one, else load less PV."""
    parts = (snapshot.grid.w, *(p.w for p in snapshot.pcs), *(p.w for p in snapshot.pv))
    if (balance := snapshot.load_w) is not None:
        return f"{kw(balance):>{KW_WIDTH}}{mark(worst_of(parts))}"
    meter_w = Reading() if snapshot.load is None else snapshot.load.w
    if meter_w.good is None and snapshot.net_load_w is not None:
        return f"{kw(snapshot.net_load_w):>{KW_WIDTH}} {say('status.net_load')}"
    if meter_w.value is not None:
        return f"{kw(meter_w.value):>{KW_WIDTH}} {say('status.by_meter')}{mark(meter_w)}"
    return f"{kw(None):>{KW_WIDTH}} {say('flow.missing')}"


def _pulse(published: Published) -> Iterator[str]:
    if published.pulse_since_utc_s is not None:
        yield say("status.pulse", s=f"{max(0.0, published.snapshot.utc_s - published.pulse_since_utc_s):.0f}")
    if published.pulses_seen:
        yield say_n("status.pulses", published.pulses_seen)


def _tariff(tariff: TariffNow, utc_s: float, zone: tzinfo) -> Iterator[str]:
    now = tariff.now_eur_per_kwh
    yield say("status.no_price") if now is None else f"{now * 100:4.1f} ct/kWh"
    coming = [(start_utc_s, price) for start_utc_s, price in tariff.ahead if start_utc_s > utc_s]
    for start_utc_s, price in coming[:2]:
        if price != now:
            yield say("status.price_from", price=f"{price * 100:.1f}", time=hour_minute_zone(start_utc_s, zone))
    if tariff.ends_utc_s is not None and not tariff.ahead:
        yield say("status.no_price_after", time=date_clock_zone(tariff.ends_utc_s, zone))
    if tariff.source:
        until = ""
        if tariff.ends_utc_s is not None:
            until = say("status.until", time=weekday_hour_minute(tariff.ends_utc_s, zone))
        yield fetched_text(tariff.source, tariff.fetched_utc_s, utc_s, zone) + until


def _iq(iq: IqNow) -> Iterator[str]:
    """Today so far, yesterday, the month to date; a dash where the record says too little."""
    today = "—" if iq.today_pct is None else f"{iq.today_pct:.0f}"
    yield say("status.iq_today", pct=today)
    yield say("status.iq_hours", known=f"{iq.today_known_h:g}", of=f"{iq.today_of_h:g}")
    if iq.yesterday_pct is not None:
        yield say("status.iq_yesterday", pct=f"{iq.yesterday_pct:.0f}")
    if iq.month_pct is not None and iq.month_saved_eur is not None:
        saved = say("status.saved" if iq.month_saved_eur >= 0 else "status.lost", eur=f"{abs(iq.month_saved_eur):.2f}")
        known, of = f"{iq.month_known_h:g}", f"{iq.month_of_h:g}"
        yield say("status.iq_month", pct=f"{iq.month_pct:.0f}", saved=saved, known=known, of=of)


def _drill(published: Published, zone: tzinfo) -> Iterator[str]:
    """Age and result of the last drill; what the schedule says."""
    last, plan, now_s = published.last_drill, published.drill_plan, published.snapshot.utc_s
    if last is None:
        yield say("status.no_drill")
    else:
        age_s = max(now_s - last.ended_utc_s, 0.0)
        age = say("status.days", n=f"{age_s / 86_400:.0f}") if age_s >= 2 * 86_400 else span(age_s)
        yield say(
            "status.drill",
            result=say_of("result", last.result),
            age=age,
            minutes=f"{last.minutes:g}",
            who=last.who,
        )
    if plan is not None and plan.due_utc_s is not None:
        why = f": {language.words(plan.note)}" if plan.note else ""
        yield say("status.due", time=date_clock_zone(plan.due_utc_s, zone)) + why
    elif plan is not None:
        yield say("status.next", time=date_clock_zone(plan.next_utc_s, zone))
