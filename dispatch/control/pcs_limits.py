"""Determines the limits of each PCS and its battery: ratings, BMS, temperature, SoC, and whether it takes commands."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from dispatch.config.battery_ratings import bms_share
from dispatch.config.schema import BatteryConfig, DispatchConfig, PcsRatings
from dispatch.control.balance_witness import STEADY_W
from dispatch.control.power_limits import limits, power_limits, ways
from dispatch.control.proven_behaviour import HALF
from dispatch.model.equipment import NOT_RUNNING, Battery, DeviceProof, Pcs, alarm_words
from dispatch.model.readings import Quality
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing, signed


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


def able_now(config: DispatchConfig, snapshot: Snapshot) -> DispatchConfig:
    """The site file with each PCS rated as BMS, temperatures, caps and proofs leave it now; 0 W without setpoints.

    The SoC limits nothing here: it moves.
    """
    return msgspec.structs.replace(config, pcs=tuple(_able_now(config, ratings, snapshot) for ratings in config.pcs))


def _able_now(config: DispatchConfig, ratings: PcsRatings, snapshot: Snapshot) -> PcsRatings:
    pcs = next((p for p in snapshot.pcs if p.id == ratings.id), None)
    battery = next((b for b in snapshot.batteries if b.id == ratings.battery), None)
    if readiness(pcs, battery, ratings.id)[0] is not Ready.READY:
        return msgspec.structs.replace(ratings, charge_w=0.0, discharge_w=0.0)
    own = next(b for b in config.batteries if b.id == ratings.battery)
    able = next((p for p in config.able_pcs if p.id == ratings.id), ratings)
    proof = next((d.proof for d in snapshot.devices if d.id == ratings.id), None)
    most, share = _halved(ratings) if _is_changed(proof) else ratings, bms_share(config, ratings)
    discharge_w, charge_w = (
        min(w for w, _ in power_limits(way, share, own, pcs, battery))
        for way in ways(most, able, own, pcs, battery, None)
    )
    return msgspec.structs.replace(ratings, charge_w=charge_w, discharge_w=discharge_w)


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
    changed = _is_changed(proof)
    fixed_w = 0.0
    if ready is Ready.LOST:  # of another firmware nobody knows what it does on silence
        fixed_w, why = _unread(pcs, why, last_w, proven_w, together_w, None if changed else proof)
    elif ready is Ready.WITHHELD:
        fixed_w = _last_power_w(pcs) if proven_w is None else proven_w
    if changed:
        ratings = _halved(ratings)
    (high_w, high_why), (charge_w, low_why) = (
        min(limits(way, share, config, pcs, battery, changed), key=lambda limit: limit[0])
        for way in ways(ratings, able, config, pcs, battery, last_w)
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


def _is_changed(proof: DeviceProof | None) -> bool:
    """Whether a PCS is another one, or has another firmware, than was proven."""
    return proof is not None and proof.changed_utc_s is not None


def _halved(ratings: PcsRatings) -> PcsRatings:
    return msgspec.structs.replace(ratings, charge_w=HALF * ratings.charge_w, discharge_w=HALF * ratings.discharge_w)


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
