"""Maps a simulated PCS to the registers of a storage inverter of before the 700 series: models 103, 120, 124 and 160.

What it cannot say is missing: who controls it, whether it forms a grid, the limits and temperatures of the BMS.
"""

from __future__ import annotations

from drivers.twin.pcs import InvSt, TwinPcs
from drivers.twin.physics import TwinSite
from drivers.twin.registers import Getter, Image, ModelFill, Write, exponent_for, sunspec_image
from drivers.twin.storage import StorageControl

ST = {  # 103 St
    InvSt.OFF: 1, InvSt.SLEEPING: 2, InvSt.STARTING: 3, InvSt.RUNNING: 4, InvSt.THROTTLED: 5,
    InvSt.SHUTTING_DOWN: 6, InvSt.FAULT: 7, InvSt.STANDBY: 8,
}  # fmt: skip
GRID_DISCONNECT = 1 << 4  # of Evt1
MODULES = ("MPPT 1", "MPPT 2", "StCha 3", "StDisCha 4")


def storage_inverter_image(unit: TwinPcs, storage: StorageControl, site: TwinSite, common: ModelFill) -> Image:
    """Models 1, 103, 120, 124 and 160. W > 0 discharges."""
    nameplate = ModelFill(
        120,
        {"WRtg_SF": 1, "VARtg_SF": 1, "WHRtg_SF": 2, "MaxChaRte_SF": 1, "MaxDisChaRte_SF": 1},
        {
            "DERTyp": 82,  # PV with storage
            "WRtg": unit.ratings.discharge_w,
            "VARtg": unit.ratings.discharge_w,
            "WHRtg": unit.battery.config.energy_kwh * 1000,
            "MaxChaRte": unit.ratings.charge_w,
            "MaxDisChaRte": unit.ratings.discharge_w,
        },
    )
    image = sunspec_image([common, _inverter(unit, site), nameplate, _storage(unit, storage), _modules(unit)])
    image.locked = lambda: unit.local
    return image


def _inverter(unit: TwinPcs, site: TwinSite) -> ModelFill:
    def amps() -> float:
        return abs(unit.w) / (3 * site.v) if site.v > 0 else 0.0

    live: dict[str, Getter] = {
        "A": lambda: 3 * amps(),
        "W": lambda: unit.w,
        "VA": lambda: abs(unit.w),
        "Hz": lambda: site.hz,
        "WH": lambda: unit.injected_wh,
        "TmpCab": lambda: unit.battery.temp_c,
        "St": lambda: ST[unit.state],
        "Evt1": lambda: GRID_DISCONNECT if unit.grid_lost else 0,
    }
    for phase in "ABC":
        live |= {f"Aph{phase}": amps, f"PhVph{phase}": lambda: site.v}
    w_sf = exponent_for(1.2 * max(unit.ratings.charge_w, unit.ratings.discharge_w), signed=True)
    scales = {"A_SF": -1, "V_SF": -1, "W_SF": w_sf, "VA_SF": w_sf, "Hz_SF": -2, "WH_SF": 0, "Tmp_SF": -1}
    return ModelFill(103, scales, {"Evt2": 0}, live)


def _storage(unit: TwinPcs, storage: StorageControl) -> ModelFill:
    control, battery = unit.control, unit.battery

    def charging_state() -> int:
        if abs(battery.w) < 1:
            return 2 if battery.soc_pct < 0.5 else (5 if battery.soc_pct > 99.5 else 6)
        return 3 if battery.w > 0 else 4

    live: dict[str, Getter] = {
        "StorCtl_Mod": lambda: storage.mode,
        "ChaState": lambda: battery.shown_soc_pct,
        "InBatV": lambda: battery.v,
        "ChaSt": charging_state,
        "OutWRte": lambda: storage.out_pct,
        "InWRte": lambda: storage.in_pct,
        "InOutWRte_RvrtTms": lambda: control.revert_s,
        "ChaGriSet": lambda: int(storage.charge_from_grid),
    }
    writes = {
        "StorCtl_Mod": Write(lambda value: storage.set_mode(int(value)), 0, 3),
        "OutWRte": Write(storage.set_out, -100, 100),
        "InWRte": Write(storage.set_in, -100, 100),
        "InOutWRte_RvrtTms": Write(lambda value: setattr(control, "revert_s", value), 0, 0xFFFE),
        "ChaGriSet": Write(lambda value: setattr(storage, "charge_from_grid", bool(value)), 0, 1),
    }
    fixed: dict[str, float | str] = {"WChaMax": storage.full_w, "WChaGra": 100, "WDisChaGra": 100, "MinRsvPct": 5}
    scales = {
        "WChaMax_SF": exponent_for(storage.full_w, signed=False),
        "WChaDisChaGra_SF": 0,
        "MinRsvPct_SF": -2,
        "ChaState_SF": -2,
        "InBatV_SF": -1,
        "InOutWRte_SF": -2,
    }
    return ModelFill(124, scales, fixed, live, writes)


def _modules(unit: TwinPcs) -> ModelFill:
    """Two modules of PV without any panel, then charging and discharging, as Fronius has them."""
    battery = unit.battery
    fixed: dict[str, float | str] = {"N": len(MODULES)}
    for n, name in enumerate(MODULES, start=1):
        fixed |= {f"module.{n}.ID": n, f"module.{n}.IDStr": name, f"module.{n}.DCSt": 4}
    fixed |= {"module.1.DCW": 0, "module.2.DCW": 0}
    live: dict[str, Getter] = {
        "module.3.DCW": lambda: max(-battery.dc_w, 0.0),
        "module.4.DCW": lambda: max(battery.dc_w, 0.0),
        "module.3.DCV": lambda: battery.v,
        "module.4.DCV": lambda: battery.v,
    }
    most_w = 1.2 * max(unit.ratings.charge_w, unit.ratings.discharge_w)
    scales = {"DCA_SF": -1, "DCV_SF": -1, "DCW_SF": exponent_for(most_w, signed=False), "DCWH_SF": 0}
    return ModelFill(160, scales, fixed, live, repeats=len(MODULES))
