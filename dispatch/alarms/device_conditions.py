"""Determines the alarm conditions of each device: silent, readings missing or rejected, battery, PCS, node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dispatch.alarms.facts import Facts, NodesUnread
from dispatch.alarms.points import QUIET, Condition
from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.control.power_limits import isolation_fault
from dispatch.control.setpoint_monitor import tolerance_w
from dispatch.model.battery_bank import counted
from dispatch.model.decision import Contested, Decision, PvOver
from dispatch.model.equipment import (
    BATTERY_TRIPPED,
    Battery,
    DeviceHealth,
    DeviceIdentity,
    DeviceProof,
    Gpu,
    Node,
    Pcs,
    Pv,
    Switch,
    alarm_words,
)
from dispatch.model.power_caps import exceeds
from dispatch.model.readings import Status
from dispatch.model.reasons import Reason, joined, plain
from dispatch.model.snapshot import Snapshot

FOLLOW_SHARE = 0.05  # of the rating: a PCS this close to its setpoint follows it
FOLLOW_W = 500.0
SOC_MARGIN_PCT = 0.5
AGAIN_S = 7 * 86_400.0  # a PCS that is not as proven is to be proven again within this time

MOST_COUNTED = 2000  # tuples of GPUs
_COUNTED: dict[int, tuple[tuple[Gpu, ...], int]] = {}  # by what object it is: a frozen one does not change


def silent(device: DeviceHealth) -> Condition:
    age_s = device.age_s
    silent = Reason("alarm.never_answered") if age_s is None else Reason("alarm.silent", {"silent_s": age_s})
    if device.error:
        silent = Reason("alarm.silent_error", {"silent": silent, "error": device.error})
    return Condition(not device.online, silent, kind=device.kind)


def lost_conditions(snapshot: Snapshot, unread: NodesUnread) -> Iterator[tuple[str, Condition]]:
    """Devices that do not answer. A PV inverter that sleeps is not lost; nodes that nobody reads have one alarm."""
    asleep = {pv.id for pv in snapshot.pv if pv.asleep}
    for device in snapshot.devices:
        if not device.online and device.id not in asleep and device.id not in unread.ids:
            yield f"device-lost:{device.id}", silent(device)
    lost = len(unread.ids)
    detail = Reason("alarm.nodes_unread", {"lost": lost, "of": unread.of, "why": plain(unread.why)}) if lost else None
    yield "nodes-not-read", Condition(lost > 0, detail)


def missing_conditions(snapshot: Snapshot, config: DispatchConfig) -> Iterator[tuple[str, Condition]]:
    """Devices that answer without the reading that control needs; silent ones are device-lost."""
    online = {d.id: d.online for d in snapshot.devices if d.kind != "node"}  # of which there may be a thousand
    for pcs in snapshot.pcs:
        absent = pcs.w.good is None and online.get(pcs.id, True)
        yield f"reading-missing:{pcs.id}", Condition(absent, Reason("alarm.power_missing"), kind="pcs")
    for battery in snapshot.batteries:
        tellers = [battery.id] if battery.id in online else [p.id for p in config.pcs if p.battery == battery.id]
        told = any(online.get(name, True) for name in tellers)
        yield (
            f"reading-missing:{battery.id}",
            Condition(battery.soc_pct.good is None and told, Reason("alarm.soc_missing"), kind="battery"),
        )


def implausible_conditions(snapshot: Snapshot, decision: Decision | None) -> dict[str, Condition]:
    """Devices whose readings are rejected again and again, with the last of each."""
    found: dict[str, list[Reason]] = {}
    for doubt in decision.implausible if decision else ():
        found.setdefault(doubt.device_id, []).append(doubt.why)
    kinds = {device.id: device.kind for device in snapshot.devices if device.id in found}
    return {
        f"reading-implausible:{name}": Condition(True, joined(why), kind=kinds.get(name, ""))
        for name, why in found.items()
    }


def _worst_temp_c(battery: Battery, limits: BatteryConfig) -> float | None:
    """Of what is known of its temperatures the one that is nearest to a limit, or furthest beyond."""
    known = [t.good for t in (battery.temp_c, battery.cell_temp_min_c, battery.cell_temp_max_c) if t.good is not None]
    return min(known, key=lambda t: min(t - limits.temp_min_c, limits.temp_max_c - t), default=None)


def battery_conditions(battery: Battery, config: DispatchConfig) -> Iterator[tuple[str, Condition]]:
    limits = next((b for b in config.batteries if b.id == battery.id), None)
    if limits is None:
        return
    soc, temp = battery.soc_pct.good, _worst_temp_c(battery, limits)
    yield from _protection(battery, limits)
    yield f"soc-stands-still:{battery.id}", _stands_still(battery)
    yield (
        f"soc-low:{battery.id}",
        Condition(
            None if soc is None else soc <= limits.soc_min_pct + SOC_MARGIN_PCT,
            None
            if soc is None
            else counted(Reason("alarm.soc_low", {"soc_pct": soc, "limit_pct": limits.soc_min_pct}), (battery,)),
            beyond=None if soc is None else limits.soc_min_pct + SOC_MARGIN_PCT - soc,
        ),
    )
    yield (
        f"battery-temperature:{battery.id}",
        Condition(
            None if temp is None else not limits.temp_min_c <= temp <= limits.temp_max_c,
            None
            if temp is None
            else Reason("alarm.temperature", {"temp_c": temp, "min_c": limits.temp_min_c, "max_c": limits.temp_max_c}),
            beyond=None if temp is None else max(limits.temp_min_c - temp, temp - limits.temp_max_c),
        ),
    )


def _protection(battery: Battery, limits: BatteryConfig) -> Iterator[tuple[str, Condition]]:
    """What its BMS says of contactor, isolation and cooling, and its alarms. What was never told is no alarm."""
    told = plain(alarm_words(battery.alarms)) if battery.alarms else None
    state = battery.state
    yield f"battery-contactor:{battery.id}", Condition(_says(battery.contactor, "open"), told)
    isolation = isolation_fault(battery, limits)
    yield f"battery-isolation:{battery.id}", Condition(isolation is not None, isolation)
    yield f"battery-cooling:{battery.id}", Condition(_says(battery.cooling, "fault"), told)
    said = [plain(state.value)] if state.good in (*BATTERY_TRIPPED, "warning") and state.value else []
    reported = joined([*said, *([told] if told else [])]) if said or told else None
    yield f"battery-alarm:{battery.id}", Condition(reported is not None, reported)


def _says(status: Status, word: str) -> bool | None:
    """Whether a status is this word; None: not known now. One that was never told is not."""
    return None if status.good is None and status.value is not None else status.good == word


def _stands_still(battery: Battery) -> Condition:
    """The BMS reports an SoC that does not follow the energy moved."""
    reported_pct = battery.soc_reported_pct.value
    ends = [pct for r in (battery.soc_pct, battery.soc_high_pct) if (pct := r.value) is not None]
    if battery.soc_state != "stands_still" or reported_pct is None or not ends:
        return Condition(None if battery.soc_state in ("carried", "rejected") else False)
    counted_pct = max(ends, key=lambda pct: abs(pct - reported_pct))
    return Condition(True, Reason("alarm.soc_stands_still", {"reported_pct": reported_pct, "counted_pct": counted_pct}))


def switch_condition(switch: Switch) -> Condition:
    """A transfer switch that would not act by itself, unless an order that stands is the reason."""
    control = switch.control.good
    if not switch.rests_in or control is None:
        return Condition(None if switch.rests_in else False)
    ordered = control == "remote" and switch.command.good in ("open", "close")
    return Condition(control != switch.rests_in and not ordered, Reason("alarm.switch_control", {"control": control}))


def pv_conditions(snapshot: Snapshot, decision: Decision | None) -> Iterator[tuple[str, Condition]]:
    """PV that stays above the limit it was given."""
    over = {found.device_id: found for found in decision.pv_over} if decision else {}
    for pv in snapshot.pv:
        yield f"pv-limit-not-followed:{pv.id}", _over(pv, over.get(pv.id))


def _over(pv: Pv, over: PvOver | None) -> Condition:
    if over is None:
        return QUIET
    held_w = pv.limit_w.good
    if held_w is None:
        return Condition(True, Reason("alarm.pv_over", {"limit_w": over.limit_w, "measured_w": over.w}))
    return Condition(
        True,
        Reason("alarm.pv_over_though_read", {"limit_w": over.limit_w, "held_w": held_w, "measured_w": over.w}),
    )


def pcs_conditions(
    pcs: Pcs, snapshot: Snapshot, decision: Decision | None, facts: Facts
) -> Iterator[tuple[str, Condition]]:
    state, control = pcs.state.good, pcs.control.good
    reported = plain(alarm_words(pcs.alarms)) if pcs.alarms else None
    yield f"pcs-fault:{pcs.id}", Condition(None if state is None else state == "fault", reported)
    yield f"pcs-local:{pcs.id}", Condition(None if control is None else control == "local")
    wanted = facts.written_w.get(pcs.id)
    if decision is not None and all(s.w is None for s in decision.setpoints if s.device_id == pcs.id):
        wanted = None  # nothing is asked of it now: what it held before runs out by itself
    yield f"setpoint-not-followed:{pcs.id}", _following(pcs, wanted, snapshot, facts.config)
    yield f"foreign-master:{pcs.id}", _foreign(pcs, decision)
    contested = next((c for c in decision.contested if c.device_id == pcs.id), None) if decision else None
    if pcs.id in facts.withheld:  # what it holds is nobody's answer to a setpoint of ours
        contested = wanted = None
    yield f"setpoint-mismatch:{pcs.id}", _contested(contested, decision) or _mismatch(pcs, wanted, facts.config)


def _foreign(pcs: Pcs, decision: Decision | None) -> Condition:
    """Another controller commands it."""
    found = next((f for f in decision.foreign if f.device_id == pcs.id), None) if decision else None
    if found is None:
        return Condition(False)
    detail = Reason("alarm.foreign_master", {"held_w": found.held_w, "again_s": found.again_s})
    return Condition(True, detail)


def energy_conditions(snapshot: Snapshot, decision: Decision | None) -> Iterator[tuple[str, Condition]]:
    """Meters whose power does not fit their own energy registers."""
    apart = {found.meter_id: found for found in decision.energy_apart} if decision else {}
    for name in {snapshot.grid.id, *([snapshot.load.id] if snapshot.load else [])}:
        found = apart.get(name)
        if found is None:
            yield f"meter-energy:{name}", Condition(False)
            continue
        figures = Reason(
            "alarm.energy_apart",
            {"counted_wh": found.counted_wh, "register_wh": found.register_wh, "over_s": found.over_s},
        )
        yield f"meter-energy:{name}", Condition(True, figures)


def node_conditions(nodes: Iterable[Node], facts: Facts) -> Iterator[tuple[str, Condition]]:
    """Caps not followed; GPUs that do not answer; limits that a restart would not know, or that another has changed."""
    caps_w, not_kept = facts.node_caps_w, facts.gpu_limits_not_kept
    for node in nodes:  # a thousand, at each tick
        if node.id in caps_w:
            yield f"cap-not-followed:{node.id}", _over_cap(node.w.good, caps_w[node.id])
        if node.gpus and (missing := _without_power(node.gpus)):
            silent = Reason("alarm.gpus_missing", {"missing": missing, "gpus": len(node.gpus), "note": node.note})
            yield f"gpus-missing:{node.id}", Condition(True, silent)
        if node.id in not_kept:
            yield f"gpu-limits-not-kept:{node.id}", Condition(True, plain(not_kept[node.id]))
        if node.id in facts.gpu_limits_changed:
            yield f"gpu-limits-changed:{node.id}", Condition(True, plain(facts.gpu_limits_changed[node.id]))


def _without_power(gpus: tuple[Gpu, ...]) -> int:
    """How many of them give none. Counted once of each tuple: to look at 8000 GPUs at each tick takes milliseconds."""
    known = _COUNTED.get(id(gpus))
    if known is not None and known[0] is gpus:
        return known[1]
    if len(_COUNTED) >= MOST_COUNTED:
        _COUNTED.clear()
    missing = [gpu.w.value for gpu in gpus].count(None)
    _COUNTED[id(gpus)] = gpus, missing
    return missing


def _over_cap(drawn_w: float | None, cap_w: float) -> Condition:
    if drawn_w is None:
        return Condition(None)
    over = Reason("alarm.over_cap", {"drawn_w": drawn_w, "cap_w": cap_w})
    return Condition(exceeds(drawn_w, cap_w), over)


def _following(pcs: Pcs, wanted_w: float | None, snapshot: Snapshot, config: DispatchConfig) -> Condition:
    """Derating is no fault: where a reported limit is below the setpoint, the limit is what to follow."""
    rating = next((p for p in config.pcs if p.id == pcs.id), None)
    if wanted_w is None or rating is None or pcs.control.good == "local" or pcs.state.good == "throttled":
        return Condition(False)
    if pcs.w.good is None:
        return Condition(None)
    battery = next((b for b in snapshot.batteries if b.id == rating.battery), None)
    charge = [rating.charge_w, pcs.charge_limit_w.good, battery.charge_limit_w.good if battery else None]
    discharge = [rating.discharge_w, pcs.discharge_limit_w.good, battery.discharge_limit_w.good if battery else None]
    low = -min(limit for limit in charge if limit is not None)
    high = min(limit for limit in discharge if limit is not None)
    expected = min(max(wanted_w, low), high)
    tolerance = max(FOLLOW_W, FOLLOW_SHARE * max(rating.charge_w, rating.discharge_w))
    # limits reported at the battery lie a conversion loss away from AC power: all between 0 and the setpoint is fine
    derated = expected != wanted_w and min(0.0, wanted_w) - tolerance <= pcs.w.good <= max(0.0, wanted_w) + tolerance
    off = abs(pcs.w.good - expected) > tolerance and not derated
    held_w = pcs.setpoint_w.good
    if held_w is None:
        return Condition(off, Reason("alarm.not_followed", {"setpoint_w": wanted_w, "measured_w": pcs.w.good}))
    return Condition(
        off,
        Reason("alarm.not_followed_though_held", {"setpoint_w": wanted_w, "held_w": held_w, "measured_w": pcs.w.good}),
    )


def proof_conditions(device: DeviceHealth, utc_s: float) -> Iterator[tuple[str, Condition]]:
    """A PCS that says it is another one, or has another firmware, than was proven; and for how long."""
    proof = device.proof
    if proof is None:
        return
    since_s = proof.changed_utc_s
    if since_s is None:
        yield from ((f"{name}:{device.id}", Condition(False)) for name in ("not-as-proven", "proof-overdue"))
        return
    figures = _changed(proof, device.identity)
    overdue = utc_s - since_s > AGAIN_S
    yield f"not-as-proven:{device.id}", Condition(not overdue, figures)
    yield f"proof-overdue:{device.id}", Condition(overdue, figures)


def _changed(proof: DeviceProof, now: DeviceIdentity | None) -> Reason:
    """What was proven and what it is now: the serial number where that is another, else the firmware."""
    untold, by = Reason("alarm.no_firmware"), proof.again_by
    if now is not None and now.serial != proof.serial:
        proven, says = proof.serial or untold, now.serial or untold
        return Reason("alarm.another_than_proven", {"proven": proven, "now": says, "again_local": by})
    says = (now.firmware if now is not None else "") or untold
    return Reason("alarm.not_as_proven", {"proven": proof.firmware or untold, "now": says, "again_local": by})


def _contested(contested: Contested | None, decision: Decision | None) -> Condition | None:
    """What the looks of the last seconds tell, though each overwriting may have been undone at once."""
    if contested is None or decision is None:
        return None
    asked_w = next((s.w for s in decision.setpoints if s.device_id == contested.device_id), None)
    if asked_w is None:
        return None
    return Condition(
        True,
        Reason(
            "alarm.contested",
            {"asked_w": asked_w, "held_w": contested.held_w, "share_pct": 100 * contested.share},
        ),
    )


def _mismatch(pcs: Pcs, wanted_w: float | None, config: DispatchConfig) -> Condition:
    rating = next((p for p in config.pcs if p.id == pcs.id), None)
    if wanted_w is None or rating is None or pcs.control.good == "local":
        return Condition(False)
    if pcs.setpoint_enabled.good == 0:
        return Condition(True, Reason("alarm.not_enabled", {"written_w": wanted_w}))
    held = pcs.setpoint_w.good
    if held is None:
        return Condition(None)
    return Condition(
        abs(held - wanted_w) > tolerance_w(config, pcs.id),
        Reason("alarm.holds_another", {"written_w": wanted_w, "held_w": held}),
    )
