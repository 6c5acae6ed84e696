"""Turns the values of SunSpec models into the readings of a PCS and its battery: 700 series, and inverters with 124."""

from __future__ import annotations

from collections.abc import Mapping

from dispatch.model.equipment import Battery, Pcs, soc_of
from dispatch.model.readings import MISSING, UNKNOWN, Reading, Status, status
from drivers.sample import Sample, smallest
from drivers.setpoint_points import Held, full_rate_w, rates_w
from drivers.sunspec.modules import ModulePowers

Slow = Mapping[int, Sample]  # model -> its values, with their age

DISCONNECTED = frozenset({"ac_disconnect", "grid_disconnect"})  # Evt1 of models 101-103, 111-113


def der_limits(capacity: Sample) -> tuple[float | None, float | None]:
    """Charge and discharge limit of model 702, W >= 0: the setting where there is one, else the rating."""
    most_w = capacity.number("WMax", "WMaxRtg")
    charge_w = capacity.number("WChaRteMax", "WChaRteMaxRtg")
    discharge_w = capacity.number("WDisChaRteMax", "WDisChaRteMaxRtg")
    return (charge_w if charge_w is not None else most_w), smallest(discharge_w, most_w)


def storage_limits(held: Held, slow: Slow) -> tuple[float | None, float | None]:
    """Charge and discharge limit of an inverter with model 124, W >= 0: a rate is never above 100 % of WChaMax."""
    most_w, rated = full_rate_w(held), slow[120]
    setting_w = slow[121].number("WMax")
    inverter_w = setting_w if setting_w is not None else rated.number("WRtg")
    return (
        smallest(most_w, rated.number("MaxChaRte")),
        smallest(most_w, rated.number("MaxDisChaRte"), inverter_w),
    )


def der_pcs(pcs_id: str, fast: Sample, held: Sample, slow: Slow) -> Pcs:
    """The PCS of models 701, 702, 704 and 715. DERMode is a bit field: forming wins over following."""
    modes = fast.bits("DERMode") or ()
    mode = next((m for m in ("grid_forming", "grid_following") if m in modes), None)
    charge_w, discharge_w = der_limits(slow[702])
    enabled = {"enabled": 1.0, "disabled": 0.0}.get(held.text("WSetEna") or "")
    return Pcs(
        pcs_id,
        w=fast.reading("W"),
        hz=fast.reading("Hz"),
        v=fast.reading("LNV"),
        state=fast.status("InvSt"),
        connection=fast.status("ConnSt"),
        mode=status(mode),
        control=slow[715].status("LocRemCtl"),
        setpoint_w=held.reading("WSet"),
        setpoint_enabled=held.of(enabled),
        revert_remaining_s=held.reading("WSetRvrtRem"),
        revert_after_s=held.reading("WSetRvrtTms"),
        revert_to_w=held.reading("WSetRvrt") if held.text("WSetEnaRvrt") == "enabled" else MISSING,
        charge_limit_w=slow[702].of(charge_w),
        discharge_limit_w=slow[702].of(discharge_w),
        temp_c=fast.reading("TmpCab", "TmpSnk", "TmpOt"),
        alarms=fast.bits("Alrm") or (),
    )


def storage_pcs(pcs_id: str, fast: Sample, powers: ModulePowers | None, held: Held, slow: Slow) -> Pcs:
    """The PCS of an inverter with models 101-103 or 111-113, and 124.

    Of a hybrid whose model 160 tells PV from storage, `w` is the AC power less the power of PV. It says neither whether
    it forms a grid nor who controls it, and shows no countdown of its timer.
    """
    charge_w, discharge_w = storage_limits(held, slow)
    setpoint_w, in_force = rates_w(held)
    now = fast.of
    return Pcs(
        pcs_id,
        w=now(storage_w(fast.number("W"), powers)),
        hz=fast.reading("Hz"),
        v=fast.reading("PhVphA"),
        state=fast.word({"mppt": "running"}.get(fast.text("St") or "", fast.text("St"))),
        connection=_connection(fast, slow[122]),
        mode=UNKNOWN,
        control=UNKNOWN,
        setpoint_w=now(setpoint_w),
        setpoint_enabled=now(in_force),
        revert_after_s=Sample(held).reading("InOutWRte_RvrtTms"),
        charge_limit_w=now(charge_w),
        discharge_limit_w=now(discharge_w),
        temp_c=fast.reading("TmpCab", "TmpSnk", "TmpOt"),
        alarms=fast.bits("Evt1") or (),
    )


def storage_w(ac_w: float | None, powers: ModulePowers | None) -> float | None:
    """The power of the storage alone, W, > 0 discharges: `ac_w` less that of PV; at night, where no module of PV tells
    its power, that of the storage modules.
    """
    if powers is None:
        return ac_w
    if ac_w is not None and powers.pv_w is not None:
        return ac_w - powers.pv_w
    return powers.battery_w


def _connection(fast: Sample, extended: Sample) -> Status:
    """By the inverter's events; else by the contactor of the storage that model 122 knows."""
    if DISCONNECTED & set(fast.bits("Evt1") or ()):
        return fast.word("disconnected")
    point = extended.bits("ECPConn")
    if point is None:
        return UNKNOWN
    return extended.word("connected" if "connected" in point else "disconnected")


def battery_of(battery_id: str, slow: Slow, held: Sample | None = None) -> Battery:
    """The battery of 713, of the BMS's 802 and 803 and, where `held` is given, of an inverter's 120 and 124.

    The BMS's limits in amperes count with its voltage.
    """
    der, bms, modules = slow[713], slow[802], slow[803]
    volts = bms.number("V")
    amps = [bms.number("AChaMax"), bms.number("ADisChaMax")]
    by_amps = [None if a is None or volts is None else a * volts for a in amps]
    limits = [smallest(bms.number("WChaRteMax"), by_amps[0]), smallest(bms.number("WDisChaRteMax"), by_amps[1])]
    amps = [amps[way] if by_amps[way] is not None and by_amps[way] == limits[way] else None for way in (0, 1)]
    rated = next((m for m in (der, bms) if m.number("WHRtg") is not None), slow[120])
    health = der if der.number("SoH") is not None else bms
    return Battery(
        battery_id,
        soc_pct=_soc(der, bms, held),
        soh_pct=health.reading("SoH"),
        energy_wh=rated.reading("WHRtg"),
        charge_limit_w=bms.of(limits[0]),
        discharge_limit_w=bms.of(limits[1]),
        charge_limit_a=bms.of(amps[0]),
        discharge_limit_a=bms.of(amps[1]),
        temp_c=modules.reading("ModTmpMax"),
        state=_battery_state(der, bms, held),
        alarms=bms.bits("Evt1") or (),
        cell_v_min=bms.reading("CellVMin"),
        cell_v_max=bms.reading("CellVMax"),
        cell_temp_min_c=modules.reading("ModTmpMin"),
        cell_temp_max_c=modules.reading("ModTmpMax"),
        contactor=_contactor(bms, modules),
        isolation=_by_event(bms, "ground_fault"),
        cooling=_by_event(bms, "fan_error"),
    )


def _contactor(bms: Sample, modules: Sample) -> Status:
    """By the number of strings whose contactor is closed (803 NStrCon); else by the state of the bank (802 State).

    A BMS that lists no strings (NStr 0) says nothing of theirs.
    """
    closed = modules.number("NStrCon")
    if modules.number("NStr") and closed is not None:
        return modules.word("closed" if closed else "open")
    return bms.word({"connected": "closed", "disconnected": "open"}.get(bms.text("State") or ""))


def _by_event(bms: Sample, event: str) -> Status:
    """Whether an event of 802 Evt1 stands; unknown where the BMS tells no events."""
    events = bms.bits("Evt1")
    return UNKNOWN if events is None else bms.word("fault" if event in events else "ok")


def _soc(der: Sample, bms: Sample, held: Sample | None) -> Reading:
    for sample, name in ((der, "SoC"), (bms, "SoC"), (held, "ChaState")):
        soc_pct = None if sample is None else soc_of(sample.number(name))
        if sample is not None and soc_pct is not None:
            return sample.of(soc_pct)
    return MISSING


def _battery_state(der: Sample, bms: Sample, held: Sample | None) -> Status:
    if bms.text("State"):
        return bms.status("State")
    if der.text("Sta") or held is None:
        return der.status("Sta")
    return held.status("ChaSt")
