"""Formats `skerry status` as text: aligned, without colour, each number with its limit, stale and missing marked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from console.cli.line_formats import KW_WIDTH, caps_words, flow, mark, mode_words
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
from console.display.language import alarm_text
from console.display.queue_text import power_lines, queue_sentence
from console.display.signal_text import signal_words
from console.display.status_text import (
    clock_texts,
    doubt_word,
    limiting_texts,
    off_list_words,
    unmeasured_texts,
    why_text,
)
from console.display.ups_text import ups_texts
from console.display.viewmodel import Link, Model, peak_is_lower_bound, soc_gap, soc_reading
from console.terminal_output import one_line
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import AlarmState
from dispatch.control.contact_states import contact_reason
from dispatch.control.exit_behaviour import if_gateway_dies
from dispatch.model.decision import Decision
from dispatch.model.equipment import COUNTED
from dispatch.model.islanding import OPEN_STATES, IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import Quality, Reading, worst_of
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import words
from dispatch.wording.formatting import kw, span
from gateway.api.protocol import IqNow, Published, TariffNow, Welcome

FIGURE_COLUMNS = 21  # of the first figure of a row
_PRIORITY = {Priority.HIGH: "▲1 high", Priority.MEDIUM: "▲2 medium", Priority.LOW: "▲3 low"}
_STATE = {
    AlarmState.ACKNOWLEDGED: "acknowledged",
    AlarmState.UNACKNOWLEDGED: "NOT ACKNOWLEDGED",
    AlarmState.RETURNED: "gone, not acknowledged",
}


def lines(published: Published, welcome: Welcome) -> Iterator[str]:
    """The whole status, line by line."""
    zone, snapshot, limits = zone_named(welcome.timezone), published.snapshot, welcome.limits
    model = Model(link=Link.LIVE, welcome=welcome, published=published)
    yield f"{welcome.site} · {_state(model, published)} · {date_clock_zone(snapshot.utc_s, zone)}"
    yield _gateway(published, welcome)
    if published.clock is not None and published.clock.machine_utc_s is not None:
        yield _row("Clock", *clock_texts(published.clock))
    yield ""
    yield _row("Grid", *_grid(model, published, limits))
    room = not off_grid(model)
    paused = ("paused: on the generator",) if island_state(model) is IslandState.GENSET else ()
    yield _row("Interval", *_interval(published.interval, snapshot.utc_s, room), *paused, _peak(published, welcome))
    lasts = [f"lasts {runtime_texts(model)[0]}"] if island_state(model) in OPEN_STATES else []
    yield _row("Battery", _sum(snapshot, "pcs"), *_state_of_charge(model, limits), *lasts)
    yield _row("PV", _sum(snapshot, "pv"), *([f"of {kw(limits['pv_peak_w'])} peak"] if limits.get("pv_peak_w") else []))
    yield from _pv_limits(published.decision)
    yield _row("Load", _load(snapshot), *_pulse(published))
    if asked := [text for text, _ in node_order_lines(model)]:
        yield _row("Nodes", nodes_run_text(model), *asked)
    yield from _queues_contacts_and_ups(published)
    yield _row("Tariff", *_tariff(published.tariff, snapshot.utc_s, zone))
    if published.iq is not None:
        yield _row("Energy IQ", *_iq(published.iq))
    yield _row("Why", why_text(model))
    for n, pcs in enumerate(snapshot.pcs):
        then = language.words(if_gateway_dies(pcs, published.decision, snapshot.devices))
        doubt = doubt_word((pcs.mode, pcs.setpoint_enabled, pcs.setpoint_w, pcs.revert_after_s, pcs.revert_to_w))
        yield _row("" if n else "On crash", f"{then}, by readings that are {doubt}" if doubt else then)
    if not in_normal_operation(model):
        yield _row("Next", next_step_text(model))
    for n, order in enumerate(published.orders):
        what = words(order.kind, order.value, order.target)
        left = f"until {hour_minute_zone(order.ends_utc_s, zone)}, {span(order.left_s(snapshot.mono_s))} left"
        yield _row("" if n else "Orders", f"{order.id}  {what}, {left}, {order.who}: {order.reason}".rstrip(": "))
    for n, view in enumerate(published.signals):
        what, effect = signal_words(view, snapshot.utc_s, zone)
        yield _row("" if n else "Signals", f"{view.signal.id}  {what}{f', {effect}' if effect else ''}")
    for n, state in enumerate(published.grid_events):
        line = f"{state.event.id}  {event_words(state, snapshot.utc_s, zone)}"
        yield _row("" if n else "Event", line)
    yield from _caps(published)
    if published.last_drill is not None or published.drill_plan is not None:
        yield _row("Drill", *_drill(published, zone))
    for n, r in enumerate(published.reservations):
        when = f"{hour_minute_zone(r.start_utc_s, zone)} to {hour_minute_zone(r.end_utc_s, zone)}"
        yield _row(
            "" if n else "Reserved",
            f"{r.id}  {kw(r.power_w)}, {when}, {f'{r.name} of {r.who}' if r.who else 'of another user'}",
        )
    for advisory in published.advisories:
        yield _row("Advisory", language.words(advisory))
    yield from _alarms(published, zone)
    yield from _devices(snapshot)


def _caps(published: Published) -> Iterator[str]:
    """Caps for the month's peak, and every cap that is to hold, whoever asks for it."""
    if (caps := published.decision.caps) is not None and (caps.nodes or caps.not_counted):
        yield _row("Caps", caps_words(caps))
    for n, line in enumerate(cap_lines(published)):
        yield _row("" if n else "Capped", line)


def _queues_contacts_and_ups(published: Published) -> Iterator[str]:
    """Every queue of jobs, contacts that are not at rest, and every UPS."""
    for n, queue in enumerate(published.queues):
        yield _row("" if n else "Jobs", queue_sentence(queue))
        yield from (_row("", line) for line in power_lines(queue))
    noted = [c for c in published.decision.contacts if c.latched or c.state != "inactive" or not c.read]
    for n, contact in enumerate(noted):
        yield _row("" if n else "Contacts", language.words(contact_reason(contact)))
    for n, ups in enumerate(published.snapshot.ups):
        yield _row("" if n else "UPS", *ups_texts(ups))


def _row(label: str, *parts: str) -> str:
    """The label, the figure in its column, and what belongs to it; a figure too long for the column is set apart."""
    first, *rest = parts
    apart = " · " if len(first) > FIGURE_COLUMNS else " "
    text = f"{label:<9} {first:<{FIGURE_COLUMNS}}{apart}{' · '.join(rest)}" if rest else f"{label:<9} {first}"
    return one_line(text.rstrip())


def _gateway(published: Published, welcome: Welcome) -> str:
    loop = published.loop
    site = f"simulated, clock ×{welcome.speed:g}" if welcome.simulated else "live site"
    minutes = max(0.0, published.snapshot.utc_s - welcome.started_utc_s) / 60
    late = f"late p50 {loop.lateness_p50_ms:.1f} ms, p99.9 {loop.lateness_p999_ms:.1f} ms, {loop.overruns} overruns"
    return (
        f"{site} · gateway pid {welcome.pid}, up {minutes:.0f} min · tick {welcome.rate_hz:g} Hz, {late} · "
        f"{loop.consoles} {'console' if loop.consoles == 1 else 'consoles'}"
    )


def _state(model: Model, published: Published) -> str:
    """The state at the PCC and who steers; away from the grid for how long, and whether in a drill or an outage."""
    view, cause = islanding_view(model), cause_word(model)
    if view is None or not off_grid(model):
        return mode_words(published.decision) + (f", {cause}" if cause else "")
    away = elapsed(published.snapshot.utc_s - left_grid_utc_s(view))
    return f"{island_state(model).value} {away}" + (f", {cause}" if cause else "")


def _grid(model: Model, published: Published, limits: dict[str, float]) -> Iterator[str]:
    """Import and what bounds it; behind an open switch since when it is, and the grid as the switch sees it."""
    snapshot = published.snapshot
    grid = snapshot.grid.w
    told = " FROZEN" if published.decision.meter_frozen else mark(grid)
    if island_state(model) is IslandState.GENSET:
        rated_w = limits.get("genset_w")
        yield flow(grid.value, "generator", "into generator") + told
        yield from () if rated_w is None else (f"rated {kw(rated_w)}",)
        return
    if not switch_open(snapshot.switches):
        yield flow(grid.value, "import", "export") + told
        yield from ("switch not closed",) if off_grid(model) else _grid_limits(limits)
        return
    yield f"{kw(grid.value):>{KW_WIDTH}} open{told}"
    if (view := islanding_view(model)) is not None:
        yield f"since {hour_minute(left_grid_utc_s(view), model.timezone)}"
    switch = snapshot.switches[0]
    if doubt := doubt_word((switch.position, switch.source, switch.grid_voltage, switch.grid_v, switch.grid_hz)):
        yield doubt
    yield f"grid {switch.grid_voltage.good or 'not read'}"
    if switch.grid_v.good is not None and switch.grid_hz.good is not None:
        yield f"{switch.grid_hz.good:.2f} Hz {switch.grid_v.good:.0f} V"


def _grid_limits(limits: dict[str, float]) -> Iterator[str]:
    if "contracted_peak_w" in limits:
        yield f"contracted peak {kw(limits['contracted_peak_w'])}"
    if "fuse_w" in limits:
        yield f"fuse {kw(limits['fuse_w'])}"


def _interval(interval: Interval, utc_s: float, room: bool) -> Iterator[str]:
    """Energy, time left, and with `room` what may still be imported: off the grid that means nothing."""
    left_s = max(0, round(interval.start_utc_s + interval.length_s - utc_s))
    allowed_kwh = interval.limit_w * interval.length_s / 3.6e6
    energy = "—" if interval.never_read else f"{interval.energy_wh / 1000:.2f}"
    yield f"{energy} of {allowed_kwh:.2f} kWh"
    left_w = None if interval.never_read else interval.left_w
    yield f"{left_s // 60}:{left_s % 60:02d} left" + (f", room for {kw(left_w)}" if room else "")
    word, limit_w = interval_limit(interval)
    yield f"mean below {word} {kw(limit_w)}"
    yield from unmeasured_texts(interval)


def _peak(published: Published, welcome: Welcome) -> str:
    """What the demand charge is on so far; a lower bound where intervals of it were not measured."""
    terms, billed_w, now = welcome.demand, published.billed_peak_w, published.charges
    least = "at least " if peak_is_lower_bound(published) else ""
    if now is not None:
        text = limiting_texts(now, welcome.timezone)[0]
        return f"{text}: {least}{kw(now.free_w)} free" if now.charge else text
    if terms is None or billed_w is None:
        return f"month's peak {least}{kw(published.month_peak_w)}"
    what = "peak" if terms.top_days == 1 else f"{terms.top_days} highest days"
    return f"{terms.per}'s {what} {least}{kw(billed_w)}"


def _sum(snapshot: Snapshot, what: str) -> str:
    """Power of all PCS or PV inverters; with one not good, the last values known, marked."""
    readings: list[Reading] = [p.w for p in (snapshot.pcs if what == "pcs" else snapshot.pv)]
    if not readings:
        return "none on this site"
    words = ("discharge", "charge") if what == "pcs" else ("production", "consumption")
    known = [r.value for r in readings if r.value is not None]
    text = flow(sum(known) if len(known) == len(readings) else None, *words)
    if what == "pv" and snapshot.pv and all(pv.asleep for pv in snapshot.pv):
        return f"{kw(0.0):>{KW_WIDTH}} asleep"
    stale = [r for r in readings if r.quality in (Quality.STALE, Quality.SUSPECT)]
    if what == "pcs" and any(pcs.w_estimated for pcs in snapshot.pcs):
        text += ", estimated by the battery's DC power"
    return text + (mark(max(stale, key=lambda r: r.age_s or 0.0)) if stale else "")


def _state_of_charge(model: Model, limits: dict[str, float]) -> Iterator[str]:
    """Each battery's SoC; of several also the site's, or how many of them are known."""
    batteries = () if model.published is None else model.published.snapshot.batteries
    for battery in batteries:
        reported = battery.soc_reported_pct.value
        counted = " counted from energy," if battery.soc_state in COUNTED else ""
        doubted = "" if reported is None else f"{counted} BMS {reported:.1f} % not believed"
        unusual = "".join(f", {text}" for text in battery_faults(battery))
        yield f"{battery.id} {_soc(battery.soc_pct)}{doubted}{unusual}"
    if len(batteries) > 1:
        yield f"site {_soc(soc_reading(model))}" + (f" ({gap})" if (gap := soc_gap(model)) else "")
    if batteries and "reserve_soc_pct" in limits:
        yield f"reserve {limits['reserve_soc_pct']:.1f} %"


def _soc(soc: Reading) -> str:
    return f"SoC {'—' if soc.value is None else f'{soc.value:.1f}'} %{mark(soc)}"


def _load(snapshot: Snapshot) -> str:
    """By balance; where a part of it is missing, by the load's own meter if there is one, else load less PV."""
    parts = (snapshot.grid.w, *(p.w for p in snapshot.pcs), *(p.w for p in snapshot.pv))
    if (balance := snapshot.load_w) is not None:
        return f"{kw(balance):>{KW_WIDTH}}{mark(worst_of(parts))}"
    meter_w = Reading() if snapshot.load is None else snapshot.load.w
    if meter_w.good is None and snapshot.net_load_w is not None:
        return f"{kw(snapshot.net_load_w):>{KW_WIDTH}} net load, PV not known"
    if meter_w.value is not None:
        return f"{kw(meter_w.value):>{KW_WIDTH}} by its meter{mark(meter_w)}"
    return f"{kw(None):>{KW_WIDTH}} missing"


def _pulse(published: Published) -> Iterator[str]:
    if published.pulse_since_utc_s is not None:
        yield f"pulse for {max(0.0, published.snapshot.utc_s - published.pulse_since_utc_s):.0f} s"
    if published.pulses_seen:
        yield f"{published.pulses_seen} {'pulse' if published.pulses_seen == 1 else 'pulses'} since start"


def _tariff(tariff: TariffNow, utc_s: float, zone: tzinfo) -> Iterator[str]:
    now = tariff.now_eur_per_kwh
    yield "no price" if now is None else f"{now * 100:4.1f} ct/kWh"
    coming = [(start_utc_s, price) for start_utc_s, price in tariff.ahead if start_utc_s > utc_s]
    for start_utc_s, price in coming[:2]:
        if price != now:
            yield f"{price * 100:.1f} from {hour_minute_zone(start_utc_s, zone)}"
    if tariff.ends_utc_s is not None and not tariff.ahead:
        yield f"no price known after {date_clock_zone(tariff.ends_utc_s, zone)}"
    if tariff.source:
        until = f", until {weekday_hour_minute(tariff.ends_utc_s, zone)}" if tariff.ends_utc_s is not None else ""
        yield fetched_text(tariff.source, tariff.fetched_utc_s, utc_s, zone) + until


def _iq(iq: IqNow) -> Iterator[str]:
    """Today so far, yesterday, the month to date; a dash where the record says too little."""
    today = "—" if iq.today_pct is None else f"{iq.today_pct:.0f}"
    yield f"{today} today"
    yield f"from {iq.today_known_h:g} of {iq.today_of_h:g} h"
    if iq.yesterday_pct is not None:
        yield f"{iq.yesterday_pct:.0f} yesterday"
    if iq.month_pct is not None and iq.month_saved_eur is not None:
        saved = f"saved {iq.month_saved_eur:.2f}" if iq.month_saved_eur >= 0 else f"lost {-iq.month_saved_eur:.2f}"
        yield f"month to date {iq.month_pct:.0f}, {saved} EUR, from {iq.month_known_h:g} of {iq.month_of_h:g} h"


def _drill(published: Published, zone: tzinfo) -> Iterator[str]:
    """Age and result of the last drill; what the schedule says."""
    last, plan, now_s = published.last_drill, published.drill_plan, published.snapshot.utc_s
    if last is None:
        yield "none on record"
    else:
        age_s = max(now_s - last.ended_utc_s, 0.0)
        age = f"{age_s / 86_400:.0f} days" if age_s >= 2 * 86_400 else span(age_s)
        yield f"{last.result} {age} ago, {last.minutes:g} min by {last.who}"
    if plan is not None and plan.due_utc_s is not None:
        why = f": {language.words(plan.note)}" if plan.note else ""
        yield f"due since {date_clock_zone(plan.due_utc_s, zone)}{why}"
    elif plan is not None:
        yield f"next {date_clock_zone(plan.next_utc_s, zone)}"


def _alarms(published: Published, zone: tzinfo) -> Iterator[str]:
    alarms, rate = published.alarms, published.alarm_rate
    if not alarms:
        yield _row("Alarms", "none listed" if published.shelved else "none")
    for n, alarm in enumerate(alarms):
        first = ", first out" if alarm.first_out else ""
        state = _STATE.get(alarm.state, alarm.state.value)
        since = hour_minute_zone(alarm.since_utc_s, zone)
        said = alarm_text(alarm.id)
        text = f"{_PRIORITY[alarm.priority]}  {alarm.id}  {said.title}, since {since}, {state}{first}"
        yield _row("" if n else "Alarms", text)
        yield _row("", f"  do: {said.action}")
    if published.shelved:
        yield _row("", f"{off_list_words(published.shelved)}, shelved or out of service: skerry alarms")
    if rate is not None and rate.flood:
        yield _row("", f"FLOOD: {rate.per_10_min} alarms in the last 10 min")


def _pv_limits(decision: Decision) -> Iterator[str]:
    """Each PV inverter that is limited, and why."""
    for limit in decision.pv_limits:
        if limit.w is not None:
            yield _row("Limited", f"{limit.device_id} to {kw(limit.w)}: {language.words(limit.reason)}")


def _devices(snapshot: Snapshot) -> Iterator[str]:
    asleep = [pv.id for pv in snapshot.pv if pv.asleep]
    if asleep:
        yield _row("Asleep", f"{', '.join(asleep)}: no sun, taken as 0 W")
    lost = [d for d in snapshot.devices if not d.online and d.id not in asleep]
    for n, device in enumerate(lost):
        silent = "no good answer yet" if device.age_s is None else f"no good answer for {device.age_s:.0f} s"
        yield _row(
            "" if n else "Lost", f"{device.id} ({device.kind}) {silent}{': ' if device.error else ''}{device.error}"
        )
    if not lost and snapshot.devices:
        others = len(snapshot.devices) - len(asleep)
        yield _row("Devices", f"all {'others' if asleep else others} answer")
