"""Determines the limits of each PCS and its battery: ratings, BMS, temperature, SoC, and whether it takes commands."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from dispatch.config.battery_ratings import ac_of_dc_w, bms_share
from dispatch.config.schema import BatteryConfig, DispatchConfig, PcsRatings
from dispatch.control.balance_witness import STEADY_W
from dispatch.control.proven_behaviour import HALF
from dispatch.model.battery_bank import counted, highest_soc
from dispatch.model.equipment import NOT_RUNNING, Battery, DeviceProof, Pcs, alarm_words
from dispatch.model.readings import Quality, Reading
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing, signed

SOC_TAPER_PCT = 2.0  # power fades to 0 over this much SoC before a bound, so that it does not slam
TEMP_TAPER_C = 2.0  # and over this much before a temperature bound


class Ready(enum.Enum):
    """READY: takes setpoints. WITHHELD: must get none. LOST: cannot be read, its last setpoint is kept."""

    READY = "ready"
    WITHHELD = "withheld"
    LOST = "lost"


class Unit(msgspec.Struct, frozen=True):
    """One PCS with its battery, as dispatch may use it now. Watts at the AC terminals, discharge > 0."""

    id: str
    ready: Ready
    why: Reason | None  # it is not ready
    low_w: float
    low_why: Reason
    high_w: float
    high_why: Reason
    soc_pct: float | None
    fixed_w: float  # what it does anyway while it takes no part, 0 when ready


def units(
    config: DispatchConfig,
    snapshot: Snapshot,
    last_w: Mapping[str, float],
    proven_w: Mapping[str, float] = MappingProxyType({}),
    proofs: Mapping[str, DeviceProof] = MappingProxyType({}),
) -> tuple[Unit, ...]:
    """Every configured PCS as it is now.

    last_w: the last setpoints. proven_w: the power of PCS that cannot be read, where the meters prove it; of several
    they prove the sum only. proofs: of PCS that were proven at commissioning.
    """
    together_w = sum(proven_w.values()) if len(proven_w) > 1 else None
    found_pcs = {p.id: p for p in snapshot.pcs}
    found_batteries = {b.id: b for b in snapshot.batteries}
    configs = {b.id: b for b in config.batteries}
    able = {p.id: p for p in config.able_pcs}
    result = []
    for ratings in config.pcs:
        result.append(
            _unit(
                ratings,
                able.get(ratings.id, ratings),
                bms_share(config, ratings),
                configs[ratings.battery],
                found_pcs.get(ratings.id),
                found_batteries.get(ratings.battery),
                last_w.get(ratings.id),
                proven_w.get(ratings.id),
                together_w,
                proofs.get(ratings.id),
            )
        )
    return tuple(result)


def enabled(found: tuple[Unit, ...], orders: Standing) -> tuple[Unit, ...]:
    """A PCS that somebody disabled goes to 0 kW and stays there."""
    off = {order.target: signed(order, orders.mono_s) for order in orders.disabled}
    if not off:
        return found
    still = msgspec.structs.replace
    return tuple(
        still(u, low_w=0.0, high_w=0.0, low_why=off[u.id], high_why=off[u.id]) if u.id in off else u for u in found
    )


def _unit(
    ratings: PcsRatings,
    able: PcsRatings,
    share: float,
    config: BatteryConfig,
    pcs: Pcs | None,
    battery: Battery | None,
    last_w: float | None,
    proven_w: float | None,
    together_w: float | None,
    proof: DeviceProof | None,
) -> Unit:
    ready, why = readiness(pcs, battery, ratings.id)
    changed = proof is not None and proof.changed_utc_s is not None
    fixed_w = 0.0
    if ready is Ready.LOST:  # of another firmware nobody knows what it does on silence
        fixed_w, why = _unread(pcs, why, last_w, proven_w, together_w, None if changed else proof)
    elif ready is Ready.WITHHELD:
        fixed_w = _last_power_w(pcs) if proven_w is None else proven_w
    if changed:
        ratings = msgspec.structs.replace(
            ratings, charge_w=HALF * ratings.charge_w, discharge_w=HALF * ratings.discharge_w
        )
    (high_w, high_why), (charge_w, low_why) = (
        min(_limits(way, share, config, pcs, battery, changed), key=lambda limit: limit[0])
        for way in _ways(ratings, able, config, pcs, battery, last_w)
    )
    return Unit(
        id=ratings.id,
        ready=ready,
        why=why,
        low_w=-charge_w if charge_w else 0.0,
        low_why=low_why,
        high_w=high_w,
        high_why=high_why,
        soc_pct=battery.soc_pct.good if battery is not None else None,
        fixed_w=fixed_w,
    )


def _unread(
    pcs: Pcs | None,
    lost: Reason | None,
    last_w: float | None,
    proven_w: float | None,
    together_w: float | None,
    proof: DeviceProof | None = None,
) -> tuple[float, Reason]:
    """What a PCS that cannot be read does, W: what the meters prove, else what its own timeout lets expect."""
    if proven_w is not None:
        return proven_w, _by_meters(pcs, lost, last_w, proven_w, together_w, proof)
    if last_w is None:
        if pcs is None or pcs.w.value is None:  # then the net load is unknown, and nothing uses the 0
            return 0.0, Reason("pcs.lost_without_setpoint", {"lost": lost})
        return pcs.w.value, Reason("pcs.power_assumed", {"lost": lost, "power_w": pcs.w.value})
    left_s = None if pcs is None else _revert_left_s(pcs, proof)
    if left_s is None:
        return last_w, Reason("pcs.setpoint_assumed", {"lost": lost, "setpoint_w": last_w})
    if left_s > 0:
        return last_w, Reason("pcs.setpoint_until", {"lost": lost, "setpoint_w": last_w, "left_s": left_s})
    to_w = proof.revert_to_w if proof is not None and proof.revert_to_w is not None else 0.0
    figures = Reason("pcs.reverted_assumed", {"lost": lost, "to_w": to_w, "setpoint_w": last_w, "over_s": -left_s})
    return to_w, figures


def _revert_left_s(pcs: Pcs, proof: DeviceProof | None) -> float | None:
    """Until its own timeout ends the setpoint, s; < 0 afterwards. None: not known, or proven that none does.

    By the countdown it last showed; of one that shows none by what was proven, since it was last heard.
    """
    if proof is not None and proof.revert_after_s is None:
        return None
    shown = pcs.revert_remaining_s
    if shown.value:
        return shown.value - (shown.age_s or 0.0)
    if proof is None or proof.revert_high_s is None or pcs.w.age_s is None:
        return None
    return proof.revert_high_s - pcs.w.age_s


def _by_meters(
    pcs: Pcs | None,
    lost: Reason | None,
    last_w: float | None,
    proven_w: float,
    together_w: float | None,
    proof: DeviceProof | None,
) -> Reason:
    """What the meters prove of a PCS that cannot be read, or of several together."""
    asked = None if last_w is None else Reason("pcs.last_setpoint", {"setpoint_w": last_w})
    if together_w is not None:
        return Reason("pcs.sum_by_meters", {"lost": lost, "sum_w": together_w, "asked": asked})
    reverted = None if last_w is None or pcs is None else _reverted(pcs, lost, last_w, proven_w, proof)
    return reverted or Reason("pcs.power_by_meters", {"lost": lost, "power_w": proven_w, "asked": asked})


def _reverted(
    pcs: Pcs, lost: Reason | None, last_w: float, proven_w: float, proof: DeviceProof | None
) -> Reason | None:
    """That a silent PCS has dropped its setpoint, where the meters show it: its timeout is over, and its power is what
    it reverts to (nothing, where it does not say) and no longer its setpoint. None: that is not shown.
    """
    left_s, to_w = _revert_left_s(pcs, proof), pcs.revert_to_w.value
    if to_w is None:
        to_w = proof.revert_to_w if proof is not None and proof.revert_to_w is not None else 0.0
    if left_s is None or left_s > 0 or abs(proven_w - to_w) > STEADY_W or abs(last_w - proven_w) <= 2 * STEADY_W:
        return None
    return Reason(
        "pcs.reverted_by_meters", {"lost": lost, "power_w": proven_w, "setpoint_w": last_w, "over_s": -left_s}
    )


def _last_power_w(pcs: Pcs | None) -> float:
    """The power last read. Of a PCS never read there is none: then the net load is unknown and nothing uses this."""
    return 0.0 if pcs is None or pcs.w.value is None else pcs.w.value


def readiness(pcs: Pcs | None, battery: Battery | None, name: str) -> tuple[Ready, Reason | None]:
    """Whether a PCS takes setpoints from us now, and if not, why not."""
    if battery is not None and battery.tripped:
        return Ready.WITHHELD, _tripped(battery)
    if pcs is None:
        return Ready.LOST, Reason("pcs.never_read", {"pcs": name})
    if pcs.control.good == "local":
        return Ready.WITHHELD, Reason("pcs.local_control", {"pcs": name})
    if pcs.state.good in NOT_RUNNING:
        return Ready.WITHHELD, Reason("pcs.not_running", {"pcs": name, "state": pcs.state.good})
    if (
        pcs.connection.good == "disconnected" and pcs.mode.good != "grid_forming"
    ):  # forming: the islanding rule speaks of it
        return Ready.WITHHELD, Reason("pcs.disconnected", {"pcs": name})
    if pcs.w.good is None:
        return Ready.LOST, Reason("pcs.power_unknown", {"pcs": name, "absence": _absence(pcs)})
    return Ready.READY, None


def _tripped(battery: Battery) -> Reason:
    """Why nothing is asked of a battery; its alarms beside it, as they say what has opened it."""
    because = Reason("battery.because", {"alarms": alarm_words(battery.alarms)}) if battery.alarms else None
    if battery.contactor.good == "open":
        return Reason("pcs.contactor_open", {"battery": battery.id, "because": because})
    return Reason("pcs.battery_tripped", {"battery": battery.id, "state": battery.state.good, "because": because})


def _absence(pcs: Pcs) -> Reason:
    """Why there is no power: the PCS is silent, was never heard of, or answers without one."""
    if pcs.w.age_s is not None:
        return Reason("pcs.last_read", {"age_s": pcs.w.age_s})
    others = (pcs.state, pcs.connection, pcs.control, pcs.setpoint_w, pcs.hz)
    answers = any(part.quality is Quality.GOOD for part in others)
    return Reason("pcs.answers_without_power") if answers else Reason("pcs.no_answer")


class _Way(NamedTuple):
    """One direction of a PCS and its battery. Powers and rooms are >= 0 in this direction."""

    rating_w: float  # not above its cap
    able_w: float  # the rating itself
    pcs_limit: Reading
    bms_limit: Reading  # at the battery
    bms_limit_a: float | None  # in amperes, where it comes of them
    soc: Reading  # of what it may be, the one that is nearer to the end
    ac_per_dc: float
    held_w: float  # of the last setpoint, what went this way
    room_pct: Callable[[float], float]  # from a SoC to where this direction ends
    end: Reason
    window_c: tuple[float, float]  # temperatures between which it may go this way


def _ways(
    ratings: PcsRatings,
    able: PcsRatings,
    config: BatteryConfig,
    pcs: Pcs | None,
    battery: Battery | None,
    last_w: float | None,
) -> tuple[_Way, _Way]:
    """Discharging, and charging. A PCS or battery that was never heard of is one without readings."""
    pcs, battery, held_w = pcs or Pcs(ratings.id), battery or Battery(config.id), last_w or 0.0
    discharging = _Way(
        rating_w=ratings.discharge_w,
        able_w=able.discharge_w,
        pcs_limit=pcs.discharge_limit_w,
        bms_limit=battery.discharge_limit_w,
        bms_limit_a=battery.discharge_limit_a.value,
        soc=battery.soc_pct,
        ac_per_dc=ac_of_dc_w(config, 1.0),
        held_w=max(held_w, 0.0),
        room_pct=lambda soc_pct: soc_pct - config.soc_min_pct,
        end=Reason("soc.minimum", {"soc_pct": config.soc_min_pct}),
        window_c=config.discharge_window_c,
    )
    charging = _Way(
        rating_w=ratings.charge_w,
        able_w=able.charge_w,
        pcs_limit=pcs.charge_limit_w,
        bms_limit=battery.charge_limit_w,
        bms_limit_a=battery.charge_limit_a.value,
        soc=highest_soc(battery),
        ac_per_dc=-ac_of_dc_w(config, -1.0),
        held_w=max(-held_w, 0.0),
        room_pct=lambda soc_pct: config.soc_max_pct - soc_pct,
        end=Reason("soc.maximum", {"soc_pct": config.soc_max_pct}),
        window_c=config.charge_window_c,
    )
    return discharging, charging


def _limits(
    way: _Way, share: float, config: BatteryConfig, pcs: Pcs | None, battery: Battery | None, halved: bool
) -> Iterator[tuple[float, Reason]]:
    """Every limit on power in one direction, AC watts >= 0, with its reason; of equal ones the first is named.

    `halved`: the rating is half of the PCS's.
    """
    if halved:
        yield way.rating_w, Reason("limit.not_as_proven", {"limit_w": way.rating_w})
    # A limit that went stale still limits: holding it is the safe side.
    if way.bms_limit.value is not None:
        limit_w = max(way.bms_limit.value, 0.0) * share * way.ac_per_dc
        yield limit_w, _bms_reason(config.id, limit_w, way.bms_limit_a)
    soc_pct = way.soc.good
    if battery is None or soc_pct is None:
        yield way.held_w, Reason("limit.soc_unknown", {"battery": config.id})
    else:
        fade = _fade(way.room_pct(soc_pct) / SOC_TAPER_PCT)  # 1: it limits nothing, so it is no reason
        reason = Reason("limit.soc", {"soc_pct": soc_pct, "end": way.end})
        if soc_pct != battery.soc_reported_pct.value:
            reason = counted(reason, (battery,))
        if fade < 1:
            yield way.rating_w * fade, reason
    if battery is not None:
        yield from _temperature_limit(way, config, battery)
        yield from _safety_limits(share, config, battery)
    if pcs is not None and way.pcs_limit.value is not None:
        limit_w = max(way.pcs_limit.value, 0.0)
        yield limit_w, Reason("limit.pcs", {"pcs": pcs.id, "limit_w": limit_w})
    if way.rating_w < way.able_w:
        yield way.rating_w, Reason("limit.cap", {"limit_w": way.rating_w, "rated_w": way.able_w})
    yield way.rating_w, Reason("limit.rating", {"limit_w": way.rating_w})


def _safety_limits(share: float, config: BatteryConfig, battery: Battery) -> Iterator[tuple[float, Reason]]:
    """What holds whichever way it goes."""
    if (fault := isolation_fault(battery, config)) is not None:
        yield 0.0, fault
    if unmonitored(battery):
        limit_w = config.unmonitored_w * share
        yield limit_w, Reason("limit.unmonitored", {"battery": config.id, "limit_w": limit_w})


def _bms_reason(battery: str, limit_w: float, limit_a: float | None) -> Reason:
    if limit_a is None:
        return Reason("limit.bms", {"battery": battery, "limit_w": limit_w})
    return Reason("limit.bms_amps", {"battery": battery, "limit_w": limit_w, "limit_a": limit_a})


def _temperature_limit(way: _Way, config: BatteryConfig, battery: Battery) -> Iterator[tuple[float, Reason]]:
    """By the coldest and the warmest that is known of it. Without a temperature the BMS's limits are all there is."""
    low_c, high_c = way.window_c
    known = [t.good for t in (battery.cell_temp_min_c, battery.temp_c, battery.cell_temp_max_c) if t.good is not None]
    for temp_c, room_c in ((t, min(t - low_c, high_c - t)) for t in known):
        reason = Reason("limit.temperature", {"battery": config.id, "temp_c": temp_c, "min_c": low_c, "max_c": high_c})
        if (fade := _fade(room_c / TEMP_TAPER_C)) < 1:
            yield way.rating_w * fade, reason


def isolation_fault(battery: Battery, config: BatteryConfig) -> Reason | None:
    """That the battery has lost its isolation, by its BMS's word or by its resistance to earth; None: not known of.

    It is not latched: what has measured it says when it is over. A value that is old still counts.
    """
    if battery.isolation.value == "fault":
        return Reason("limit.isolation_fault", {"battery": battery.id})
    ohm = battery.isolation_ohm.value
    if ohm is None or ohm >= config.isolation_min_ohm:
        return None
    least_kohm = config.isolation_min_ohm / 1e3
    return Reason("limit.isolation_low", {"battery": battery.id, "isolation_kohm": ohm / 1e3, "least_kohm": least_kohm})


def unmonitored(battery: Battery) -> bool:
    """Whether nothing that the battery tells would show that it must not be used. A value that is old still counts."""
    told = (battery.temp_c, battery.cell_temp_max_c, battery.charge_limit_w, battery.discharge_limit_w)
    return all(reading.value is None for reading in told)


def _fade(share: float) -> float:
    return min(max(share, 0.0), 1.0)
