"""Maps the twin's devices to registers: SunSpec meter, PCS with battery, PV; `skerry-switch` and `skerry-node`.

Model 802's limits: WChaRteMax and WDisChaRteMax are nameplate; what the BMS allows at this moment (taper, temperature)
is AChaMax and ADisChaMax, DC amperes, to be multiplied by V. 702's WChaRteMax and WDisChaRteMax are the PCS's settings.

skerry-switch, holding registers from 0: 0 magic 'SK'; 1 map version (2); 2 position (0 moving, 1 open, 2 closed);
3 auxiliary contact NO; 4 auxiliary contact NC; 5 control (0 remote, 1 local); 6 grid voltage present; 7 RW command
(0 none, 1 open, 2 close); 8 last transfer, ms (65535: not measured); 9 fault bits (1 refused: local; 2 refused: no grid
voltage). Since version 2, its synchro-check: 10 grid V, 0.1 V; 11 grid Hz, 0.01 Hz; 12-14 bus minus grid, int16: 0.1 V,
0.001 Hz, 0.1 deg (32768: not measured).

skerry-node: 0 magic 'SN'; 1 map version; 2-3 power, W; 4 CPU, 0.1 %; 5 GPUs; 6 GPUs busy; 7 RW power cap, W (65535:
none); 8 RW 0 runs, 1 suspended, 2 shut down; 9 memory, 0.1 %. 65535: not available.
"""

from __future__ import annotations

from drivers.twin.control import whole_seconds
from drivers.twin.grid import PccSwitch, Position
from drivers.twin.inverter import storage_inverter_image
from drivers.twin.load import TwinLoad, TwinNode
from drivers.twin.pcs import InvSt, OpCtl, TwinPcs
from drivers.twin.physics import PHASE_SHARE, TwinMeter, TwinSite
from drivers.twin.pv import TwinPv
from drivers.twin.registers import Field, Getter, Image, ModelFill, Write, exponent_for, plain_image, sunspec_image

MAGIC_SWITCH, MAGIC_NODE = 0x534B, 0x534E
NO_CAP = 0xFFFF
MAX_REVERT_S = 86_400.0
SQRT3 = 3**0.5


def _common(id: str, what: str) -> ModelFill:
    return ModelFill(1, fixed={"Mn": "Skerry", "Md": f"Skerry twin {what}", "Vr": "1", "SN": f"twin-{id}", "DA": 1})


def meter_image(meter: TwinMeter, full_w: float) -> Image:
    """Models 1 and 203. `full_w`: the most it must be able to show. W > 0 is import."""
    live: dict[str, Getter] = {
        "A": lambda: abs(meter.reading.w) / (3 * meter.reading.v) if meter.reading.v > 0 else 0.0,
        "W": lambda: meter.reading.w,
        "VA": lambda: abs(meter.reading.w),
        "Hz": lambda: meter.reading.hz,
        "TotWhExp": lambda: meter.reading.export_wh,
        "TotWhImp": lambda: meter.reading.import_wh,
    }
    live |= {name: (lambda: meter.reading.v) for name in ("PhV", "PhVphA", "PhVphB", "PhVphC")}
    live |= {name: (lambda: meter.reading.v * SQRT3) for name in ("PPV", "PhVphAB", "PhVphBC", "PhVphCA")}
    for n, (phase, share) in enumerate(zip("ABC", PHASE_SHARE, strict=True)):
        live[f"Wph{phase}"] = lambda n=n: meter.phases_w[n]  # type: ignore[misc]
        live[f"Aph{phase}"] = lambda share=share: (  # type: ignore[misc]
            abs(meter.reading.w) * share / meter.reading.v if meter.reading.v > 0 else 0.0
        )
    w_sf = exponent_for(full_w, signed=True)
    scales = {"A_SF": -1, "V_SF": -1, "Hz_SF": -2, "W_SF": w_sf, "VA_SF": w_sf, "PF_SF": -3, "TotWh_SF": 0}
    return sunspec_image([_common(meter.id, "meter"), ModelFill(203, scales, {"PF": 1.0, "Evt": 0}, live)])


def pv_image(pv: TwinPv, site: TwinSite) -> Image:
    """Models 1, 103, 120, 121 and 123."""
    w_sf = exponent_for(1.2 * pv.peak_w, signed=True)
    limit = pv.limit
    live: dict[str, Getter] = {
        "W": lambda: pv.w,
        "VA": lambda: pv.w,
        "Hz": lambda: site.hz,
        "WH": lambda: pv.energy_wh,
        "St": lambda: 2 if pv.sun_w <= 0 else (4 if pv.w >= pv.sun_w - 1 else 5),
    }
    live |= {name: (lambda: pv.w / (3 * site.v) if site.v > 0 else 0.0) for name in ("AphA", "AphB", "AphC")}
    live["A"] = lambda: pv.w / site.v if site.v > 0 else 0.0
    live |= {name: (lambda: site.v) for name in ("PhVphA", "PhVphB", "PhVphC")}
    scales = {"A_SF": -1, "V_SF": -1, "W_SF": w_sf, "VA_SF": w_sf, "Hz_SF": -2, "WH_SF": 0, "Tmp_SF": 0}
    limits: dict[str, Getter] = {
        "WMaxLimPct": lambda: limit.pct,
        "WMaxLimPct_RvrtTms": lambda: limit.revert_s,
        "WMaxLim_Ena": lambda: int(limit.enabled),
    }
    writes = {
        "WMaxLimPct": Write(limit.set_pct, 0, 100),
        "WMaxLimPct_RvrtTms": Write(lambda value: setattr(limit, "revert_s", value), 0, 0xFFFE),
        "WMaxLim_Ena": Write(lambda value: limit.enable(bool(value)), 0, 1),
    }
    rated_sf = exponent_for(pv.peak_w, signed=False)
    return sunspec_image(
        [
            _common(pv.id, "PV inverter"),
            ModelFill(103, scales, {"TmpCab": 25, "Evt1": 0, "Evt2": 0}, live),
            ModelFill(120, {"WRtg_SF": rated_sf}, {"DERTyp": 4, "WRtg": pv.peak_w}),  # PV
            ModelFill(121, {"WMax_SF": rated_sf}, {"WMax": pv.peak_w}),
            ModelFill(123, {"WMaxLimPct_SF": -2, "OutPFSet_SF": -2}, {"Conn": 1, "OutPFSet_Ena": 0}, limits, writes),
        ]
    )


def pcs_image(unit: TwinPcs, site: TwinSite) -> Image:
    """Models 1, 701, 702, 704, 713, 715, 802 and 803, or those of a storage inverter. W > 0 discharges."""
    if unit.storage is not None:
        return storage_inverter_image(unit, unit.storage, site, _common(unit.id, "storage inverter"))
    measured, capacity, setpoint = _measured(unit, site), _capacity(unit), _setpoint(unit)
    storage, operation, battery = _storage(unit), _operation(unit, site), _battery(unit, site)
    bank = _bank(unit)
    image = sunspec_image([_common(unit.id, "PCS"), measured, capacity, setpoint, storage, operation, battery, bank])
    image.locked = lambda: unit.local
    return image


def _measured(unit: TwinPcs, site: TwinSite) -> ModelFill:
    def amps() -> float:
        return abs(unit.w) / (3 * site.v) if site.v > 0 else 0.0

    live: dict[str, Getter] = {
        "St": lambda: int(unit.ready),
        "InvSt": lambda: int(unit.state),
        "ConnSt": lambda: int(unit.connected and not unit.grid_lost),
        "Alrm": lambda: 1 << 4 if unit.grid_lost else 0,  # GRID_DISCONNECT
        "DERMode": lambda: 1 << 1 if unit.forming else 1 << 0,
        "W": lambda: unit.w,
        "VA": lambda: abs(unit.w),
        "A": lambda: 3 * amps(),
        "LLV": lambda: site.v * SQRT3,
        "LNV": lambda: site.v,
        "Hz": lambda: site.hz,
        "TotWhInj": lambda: unit.injected_wh,
        "TotWhAbs": lambda: unit.absorbed_wh,
        "TmpCab": lambda: unit.battery.temp_c,
        "ThrotPct": lambda: 100 * sum(unit.limits_w(0.0)) / (unit.ratings.charge_w + unit.ratings.discharge_w),
        "ThrotSrc": lambda: 1 << 14 if unit.state is InvSt.THROTTLED else 0,  # DERATED
    }
    for phase in "123":
        live |= {f"WL{phase}": lambda: unit.w / 3, f"AL{phase}": amps, f"VL{phase}": lambda: site.v}
    live |= {name: (lambda: site.v * SQRT3) for name in ("VL1L2", "VL2L3", "VL3L1")}
    w_sf = exponent_for(1.2 * max(unit.ratings.charge_w, unit.ratings.discharge_w), signed=True)
    scales = {
        "A_SF": -1,
        "V_SF": -1,
        "Hz_SF": -3,
        "W_SF": w_sf,
        "PF_SF": -3,
        "VA_SF": w_sf,
        "Var_SF": w_sf,
        "TotWh_SF": 0,
        "Tmp_SF": -1,
    }
    return ModelFill(701, scales, {"ACType": 2, "Var": 0, "PF": 1.0}, live)


def _capacity(unit: TwinPcs) -> ModelFill:
    ratings = unit.ratings
    most_w = max(ratings.charge_w, ratings.discharge_w)
    w_sf = exponent_for(most_w, signed=False)
    fixed: dict[str, float | str] = {
        "WMaxRtg": ratings.discharge_w,
        "VAMaxRtg": most_w,
        "WChaRteMaxRtg": ratings.charge_w,
        "WDisChaRteMaxRtg": ratings.discharge_w,
        "VNomRtg": 400,
        "CtrlModes": 1 << 1,  # FIXED_W
        "IntIslandCatRtg": 1 << 1 | 1 << 3,  # INT_ISL_CAPABLE, ISOCH_CAPABLE
        "WMax": ratings.discharge_w,
        "VAMax": most_w,
    }
    live: dict[str, Getter] = {
        "WChaRteMax": lambda: unit.charge_setting_w,
        "WDisChaRteMax": lambda: unit.discharge_setting_w,
    }

    def charge(w: float) -> None:
        unit.charge_setting_w = w

    def discharge(w: float) -> None:
        unit.discharge_setting_w = w

    writes = {
        "WChaRteMax": Write(charge, 0, ratings.charge_w),
        "WDisChaRteMax": Write(discharge, 0, ratings.discharge_w),
    }
    return ModelFill(702, {"W_SF": w_sf, "VA_SF": w_sf, "V_SF": -1, "PF_SF": -3}, fixed, live, writes)


def _setpoint(unit: TwinPcs) -> ModelFill:
    control, ratings = unit.control, unit.ratings
    low_w, high_w = -ratings.charge_w, ratings.discharge_w

    def put(name: str) -> Write:
        low, high = (-100.0, 100.0) if name.endswith("pct") else (low_w, high_w)
        return Write(lambda value: setattr(control, name, value), low, high)

    live: dict[str, Getter] = {
        "WSetEna": lambda: int(control.enabled),
        "WSetMod": lambda: int(control.in_watts),
        "WSet": lambda: control.setpoint_w,
        "WSetRvrt": lambda: control.revert_w,
        "WSetPct": lambda: control.setpoint_pct,
        "WSetPctRvrt": lambda: control.revert_pct,
        "WSetEnaRvrt": lambda: int(control.revert_enabled),
        "WSetRvrtTms": lambda: control.revert_s,
        "WSetRvrtRem": lambda: whole_seconds(control.remaining_s),
    }
    writes = {
        "WSetEna": Write(lambda value: control.enable(bool(value)), 0, 1),
        "WSetMod": Write(lambda value: setattr(control, "in_watts", bool(value)), 0, 1),
        "WSet": put("setpoint_w"),
        "WSetRvrt": put("revert_w"),
        "WSetPct": put("setpoint_pct"),
        "WSetPctRvrt": put("revert_pct"),
        "WSetEnaRvrt": Write(lambda value: setattr(control, "revert_enabled", bool(value)), 0, 1),
        "WSetRvrtTms": Write(control.set_timeout, 0, MAX_REVERT_S),
    }
    if control.personality in ("no-revert", "refuses-revert"):
        writes = {name: write for name, write in writes.items() if "Rvrt" not in name}
    if control.personality == "no-revert":
        live = {name: get for name, get in live.items() if "Rvrt" not in name}
    scales = {"PF_SF": -3, "WMaxLimPct_SF": -1, "WSet_SF": 0, "WSetPct_SF": -1, "VarSet_SF": 0, "VarSetPct_SF": -1}
    return ModelFill(704, scales, {"AntiIslEna": 1}, live, writes)


def _storage(unit: TwinPcs) -> ModelFill:
    battery, rated_wh = unit.battery, unit.battery.config.energy_kwh * 1000
    live: dict[str, Getter] = {
        "WHAvail": lambda: rated_wh * battery.shown_soc_pct / 100,
        "SoC": lambda: battery.shown_soc_pct,
    }
    scales = {"WH_SF": exponent_for(rated_wh, signed=False), "Pct_SF": -2}
    return ModelFill(713, scales, {"WHRtg": rated_wh, "SoH": battery.soh_pct, "Sta": 0}, live)


def _operation(unit: TwinPcs, site: TwinSite) -> ModelFill:
    live: dict[str, Getter] = {
        "LocRemCtl": lambda: int(unit.local),
        "DERHb": lambda: int(site.t_s),
        "ControllerHb": lambda: unit.control.controller_hb,
        "OpCtl": lambda: int(unit.last_command),
    }
    writes = {
        "ControllerHb": Write(lambda value: unit.control.write_heartbeat(int(value)), 0, 0xFFFFFFFE),
        "OpCtl": Write(lambda value: unit.operate(OpCtl(int(value))), 0, 3),
    }
    return ModelFill(715, {}, {}, live, writes)


def _battery(unit: TwinPcs, site: TwinSite) -> ModelFill:
    battery, config = unit.battery, unit.battery.config
    charge_w, discharge_w = (
        unit.ratings.charge_w * config.charge_efficiency,
        unit.ratings.discharge_w / config.discharge_efficiency,
    )

    def charging_state() -> int:  # ChaSt: 2 EMPTY 3 DISCHARGING 4 CHARGING 5 FULL 6 HOLDING
        if abs(battery.w) < 1:
            return 2 if battery.soc_pct < 0.5 else (5 if battery.soc_pct > 99.5 else 6)
        return 3 if battery.w > 0 else 4

    live: dict[str, Getter] = {
        "SoC": lambda: battery.shown_soc_pct,
        "DoD": lambda: 100 - battery.shown_soc_pct,
        "ChaSt": charging_state,
        "LocRemCtl": lambda: int(unit.local),
        "Hb": lambda: int(site.t_s) % 0xFFFF,
        "V": lambda: battery.v,
        "A": lambda: battery.dc_w / battery.v,
        "AChaMax": lambda: battery.limits_w(0.0)[0] * config.charge_efficiency / battery.v,
        "ADisChaMax": lambda: battery.limits_w(0.0)[1] / config.discharge_efficiency / battery.v,
        "W": lambda: battery.dc_w,
    }
    fixed: dict[str, float | str] = {
        "AHRtg": config.energy_kwh * 1000 / 725,  # at the middle of its voltage
        "WHRtg": config.energy_kwh * 1000,
        "WChaRteMax": charge_w,
        "WDisChaRteMax": discharge_w,
        "SoCMax": 100,
        "SoCMin": 0,
        "SoH": battery.soh_pct,
        "AlmRst": 0,
        "Typ": 4,  # LITHIUM_ION
        "State": 3,  # CONNECTED
        "Evt1": 0,
        "Evt2": 0,
        "EvtVnd1": 0,
        "EvtVnd2": 0,
        "SetOp": 1,
        "SetInvState": 3,
    }
    most_w = max(charge_w, discharge_w)
    scales = {
        "AHRtg_SF": exponent_for(config.energy_kwh * 1000 / 725, signed=False),
        "WHRtg_SF": exponent_for(config.energy_kwh * 1000, signed=False),
        "WChaDisChaMax_SF": exponent_for(most_w, signed=False),
        "SoC_SF": -2,
        "DoD_SF": -2,
        "SoH_SF": -2,
        "V_SF": -1,
        "A_SF": exponent_for(1.5 * most_w / 650, signed=True),
        "AMax_SF": exponent_for(1.5 * most_w / 650, signed=False),
        "W_SF": exponent_for(1.2 * most_w, signed=True),
    }
    return ModelFill(802, scales, fixed, live)


def _bank(unit: TwinPcs) -> ModelFill:
    """Model 803 for its module temperatures, which 802 does not have; the strings are not listed (NStr 0)."""

    def temp_c() -> float:
        return unit.battery.temp_c

    live: dict[str, Getter] = {"ModTmpMax": temp_c, "ModTmpMin": temp_c, "ModTmpAvg": temp_c}
    scales = {"CellV_SF": -3, "ModTmp_SF": -1, "A_SF": 0, "SoC_SF": -2}
    return ModelFill(803, scales, {"NStr": 0, "NStrCon": 0}, live)


def _register(offset: int, size: int = 1, exponent: int = 0) -> Field:
    return Field(offset, size, False, False, exponent)


def switch_image(switch: PccSwitch, site: TwinSite) -> Image:
    """Registers of the map `skerry-switch`. While the switch moves, its two contacts disagree."""
    command = Write(lambda value: switch.order(int(value), site.grid_alive), 0, 2)

    def delta(offset: int, exponent: int) -> Field:
        return Field(offset, 1, True, False, exponent)

    return plain_image(
        15,
        {
            "magic": (_register(0), MAGIC_SWITCH, None, None),
            "version": (_register(1), 2, None, None),
            "position": (_register(2), None, lambda: int(switch.position), None),
            "contact_no": (_register(3), None, lambda: int(switch.position is Position.CLOSED), None),
            "contact_nc": (_register(4), None, lambda: int(switch.position is Position.OPEN), None),
            "control": (_register(5), None, lambda: int(switch.local), None),
            "grid_voltage": (_register(6), None, lambda: int(site.grid_alive), None),
            "command": (_register(7), None, lambda: switch.command, command),
            "last_transfer_ms": (_register(8), None, lambda: switch.last_transfer_ms, None),
            "faults": (_register(9), None, lambda: int(switch.faults), None),
            "grid_v": (_register(10, exponent=-1), None, lambda: site.grid.v(site.t_s, site.grid_w), None),
            "grid_hz": (_register(11, exponent=-2), None, lambda: site.grid.hz(site.t_s), None),
            "delta_v": (delta(12, -1), None, lambda: _delta(switch, site, 0), None),
            "delta_hz": (delta(13, -3), None, lambda: _delta(switch, site, 1), None),
            "delta_deg": (delta(14, -1), None, lambda: _delta(switch, site, 2), None),
        },
    )


def _delta(switch: PccSwitch, site: TwinSite, which: int) -> float | None:
    found = site.deltas(switch)
    return None if found is None else found[which]


def node_image(node: TwinNode, load: TwinLoad) -> Image:
    """`skerry-node`."""

    def cap(value: float) -> None:
        node.cap_w = None if value == NO_CAP else value
        load.refresh()

    def suspend(value: float) -> None:
        node.suspended = value == 1
        node.order_off(value == 2)
        load.refresh()

    return plain_image(
        10,
        {
            "magic": (_register(0), MAGIC_NODE, None, None),
            "version": (_register(1), 1, None, None),
            "power_w": (_register(2, size=2), None, lambda: 0.0 if load.dark else node.w, None),
            "cpu_pct": (_register(4, exponent=-1), None, lambda: 0.0 if load.dark else node.cpu_pct, None),
            "gpus_total": (_register(5), node.gpus_total, None, None),
            "gpus_busy": (_register(6), None, lambda: None if load.dark else node.gpus_busy, None),
            "power_cap_w": (_register(7), None, lambda: node.cap_w, Write(cap, 0, NO_CAP)),
            "suspended": (_register(8), None, lambda: 2 if node.off else int(node.suspended), Write(suspend, 0, 2)),
            "memory_pct": (_register(9, exponent=-1), None, lambda: node.memory_pct, None),
        },
    )
