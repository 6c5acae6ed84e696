"""Every limit on the power of a PCS and its battery in one direction: BMS, SoC, temperature, safety, PCS, cap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from dispatch.config.battery_ratings import ac_of_dc_w
from dispatch.config.schema import BatteryConfig, PcsRatings
from dispatch.model.battery_bank import counted, highest_soc
from dispatch.model.equipment import Battery, Pcs
from dispatch.model.readings import Reading
from dispatch.model.reasons import Reason

SOC_TAPER_PCT = 2.0  # power fades to 0 over this much SoC before a bound, so that it does not slam
TEMP_TAPER_C = 2.0  # and over this much before a temperature bound


class Way(NamedTuple):
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


def ways(
    ratings: PcsRatings,
    able: PcsRatings,
    config: BatteryConfig,
    pcs: Pcs | None,
    battery: Battery | None,
    last_w: float | None,
) -> tuple[Way, Way]:
    """Discharging, and charging. A PCS or battery that was never heard of is one without readings."""
    pcs, battery, held_w = pcs or Pcs(ratings.id), battery or Battery(config.id), last_w or 0.0
    discharging = Way(
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
    charging = Way(
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


def limits(
    way: Way, share: float, config: BatteryConfig, pcs: Pcs | None, battery: Battery | None, halved: bool
) -> Iterator[tuple[float, Reason]]:
    """Every limit on power in one direction, AC watts >= 0, with its reason; of equal ones the first is named.

    `halved`: the rating is half of the PCS's.
    """
    if halved:
        yield way.rating_w, Reason("limit.not_as_proven", {"limit_w": way.rating_w})
    yield from _bms_limit(way, share, config)
    yield from _soc_limit(way, config, battery)
    yield from _other_limits(way, share, config, pcs, battery)


def power_limits(
    way: Way, share: float, config: BatteryConfig, pcs: Pcs | None, battery: Battery | None
) -> Iterator[tuple[float, Reason]]:
    """The same whatever the SoC is."""
    yield from _bms_limit(way, share, config)
    yield from _other_limits(way, share, config, pcs, battery)


def _bms_limit(way: Way, share: float, config: BatteryConfig) -> Iterator[tuple[float, Reason]]:
    """A limit that went stale still limits: holding it is the safe side."""
    if way.bms_limit.value is not None:
        limit_w = max(way.bms_limit.value, 0.0) * share * way.ac_per_dc
        yield limit_w, _bms_reason(config.id, limit_w, way.bms_limit_a)


def _soc_limit(way: Way, config: BatteryConfig, battery: Battery | None) -> Iterator[tuple[float, Reason]]:
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


def _other_limits(
    way: Way, share: float, config: BatteryConfig, pcs: Pcs | None, battery: Battery | None
) -> Iterator[tuple[float, Reason]]:
    """By temperature, what the battery tells of its safety, the PCS, its cap and its rating."""
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


def _temperature_limit(way: Way, config: BatteryConfig, battery: Battery) -> Iterator[tuple[float, Reason]]:
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
