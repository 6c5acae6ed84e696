"""What the sources of each meter say, as far as a stranger with pymodbus' client needs it to read every value.

Taken from the sources that the maps cite, not from the maps. Powers > 0 import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pcs_cases import At, Sum


class MeterCase(NamedTuple):
    """One meter."""

    values: Mapping[str, At | Sum]
    unit: int = 7
    units: Mapping[str, int] = {}


def three(name: str, first: At, step: int = 2) -> dict[str, At]:
    """The same of L1, L2, L3."""
    return {f"{name}_l{n + 1}": first._replace(address=first.address + n * step) for n in range(3)}


def floats(v: int, a: int, w_l1: int, w: int, **more: At) -> dict[str, At]:
    """V, A and W as floats of two registers, high word first."""
    f = At(0, "f32")
    by_phase = {**three("v", f._replace(address=v)), **three("a", f._replace(address=a))}
    return {**by_phase, **three("w", f._replace(address=w_l1)), "w": f._replace(address=w), **more}


def schneider(**more: At) -> dict[str, At]:
    """mbmd iem3000.go: floats, powers in kW; energies as 64 bits in Wh."""
    kilo = At(0, "f32", 1000.0)
    return {
        **three("a", At(2999, "f32")), **three("v", At(3027, "f32")), **three("w", kilo._replace(address=3053)),
        "w": kilo._replace(address=3059), "var": kilo._replace(address=3067), "va": kilo._replace(address=3075),
        "hz": At(3109, "f32"), "import_wh": At(3203, "s64"), "export_wh": At(3207, "s64"), **more,
    }  # fmt: skip


def siemens(**more: At) -> dict[str, At]:
    """mbmd pac2200.go, function 4; OpenEMS, function 3: floats; energies as doubles in Wh."""
    energies = {"import_wh": At(801, "f64"), "export_wh": At(809, "f64")}
    return floats(1, 13, 25, 65, va=At(63, "f32"), var=At(67, "f32"), **energies, **more)


def em24(hz: int, imported: int, exported: int) -> dict[str, At]:
    """mbmd carlogavazzi-em24.go, em24_e1.go: function 4, 32 bits, low word first; Hz in one register."""
    s32 = At(0, "s32", 0.1, function=4, low_first=True)
    return {
        **three("v", s32), **three("a", s32._replace(address=12, factor=0.001)),
        **three("w", s32._replace(address=18)),
        "w": s32._replace(address=40), "hz": At(hz, "s16", 0.1, function=4),
        "import_wh": s32._replace(address=imported, factor=100),
        "export_wh": s32._replace(address=exported, factor=100),
    }  # fmt: skip


def socomec(hz: float) -> dict[str, At]:
    """Socomec's tables from 0xC550 and 0xC700 on: V / 100, A / 1000, W x 10, total energies in units of 10 Wh."""
    return {
        **three("v", At(0xC558, "u32", 0.01)), "hz": At(0xC55E, "u32", hz), **three("a", At(0xC560, "u32", 0.001)),
        "w": At(0xC568, "s32", 10), "var": At(0xC56A, "s32", 10), "va": At(0xC56C, "u32", 10),
        **three("w", At(0xC570, "s32", 10)),
        "import_wh": At(0xC702, "u32", 10), "export_wh": At(0xC708, "u32", 10),
    }  # fmt: skip


LOW = At(0, "f32", low_first=True)  # Phoenix: OpenEMS PhoenixContactMeterImpl.java
CASES: dict[str, Mapping[str, At | Sum]] = {
    # the maker's manual as mbmd abb.go has it; 5B1C reactive and 5B24 apparent power, 8960 the type
    "abb-b23": {
        "model": At(0x8960, text=6), **three("v", At(0x5B00, "u32", 0.1)), **three("a", At(0x5B0C, "u32", 0.01)),
        "w": At(0x5B14, "s32", 0.01), **three("w", At(0x5B16, "s32", 0.01)), "var": At(0x5B1C, "s32", 0.01),
        "va": At(0x5B24, "s32", 0.01), "hz": At(0x5B2C, "u16", 0.01),
        "import_wh": At(0x5000, "u64", 10), "export_wh": At(0x5004, "u64", 10),
    },
    "carlo-gavazzi-em24": em24(0x37, 0x42, 0x5C),
    "carlo-gavazzi-em24-e1": em24(0x33, 0x34, 0x4E),
    # mbmd sdm.go and the maker's table: function 4, kWh
    "eastron-sdm630": {
        name: at._replace(function=4)
        for name, at in floats(
            0, 6, 12, 52, va=At(56, "f32"), var=At(60, "f32"), pf=At(62, "f32"), hz=At(70, "f32"),
            import_wh=At(72, "f32", 1000), export_wh=At(74, "f32", 1000),
        ).items()
    },
    # the maker's list: 19034 apparent, 19042 reactive power; mbmd janitza.go: Wh
    "janitza-umg": floats(
        19000, 19012, 19020, 19026, va=At(19034, "f32"), var=At(19042, "f32"), hz=At(19050, "f32"),
        import_wh=At(19068, "f32"), export_wh=At(19076, "f32"),
    ),
    "phoenix-empro": {
        **three("v", LOW._replace(address=0x8006)), "hz": LOW._replace(address=0x800C),
        **three("a", LOW._replace(address=0x800E)), "w": LOW._replace(address=0x8016),
        **three("w", LOW._replace(address=0x801E)),
    },
    "schneider-iem3000": schneider(),
    "schneider-pm5000": schneider(maker=At(69, text=20)),
    "siemens-pac2200": siemens(),
    "siemens-pac3200": siemens(hz=At(55, "f32")),
    "socomec-countis-e2": socomec(0.001),
    "socomec-countis-e3": socomec(0.01),
    # partial energies
    "socomec-diris-a10": socomec(0.01) | {"import_wh": At(0xC65C, "u32", 1000), "export_wh": At(0xC662, "u32", 1000)},
}  # fmt: skip


def words(**of: At) -> dict[str, At]:
    """Bits that are clear on a device with which all is well."""
    return {name: at._replace(means=lambda raw: () if raw == 0 else raw) for name, at in of.items()}


BATTERIES: dict[str, Mapping[str, At | Sum]] = {
    # OpenEMS PylontechPowercubeM2BatteryImpl.java: V, A with one and two decimals, discharging limit negative
    "pylontech-powercube-m2": {
        "battery_v": At(0x1103, "u16", 0.1), "battery_temp_c": At(0x1106, "s16", 0.1), "soc_pct": At(0x1107),
        "charge_limit_a": At(0x110A, "s32", 0.01), "discharge_limit_a": At(0x110D, "s32", -0.01),
        "cell_v_max": At(0x1110, "u16", 0.001), "cell_v_min": At(0x1111, "u16", 0.001),
        "cell_temp_max_c": At(0x1114, "s16", 0.1), "cell_temp_min_c": At(0x1115, "s16", 0.1), "soh_pct": At(0x1120),
        "charge_limit_w": At(0x1138, means=lambda raw: 0.0 if raw == 1 else None),
        "discharge_limit_w": At(0x1139, means=lambda raw: 0.0 if raw == 1 else None),
        "isolation_ohm": At(0x1148, "u16", 1000.0), **words(battery_alarms=At(0x1101)),
        "contactor": At(0x110F, means=lambda raw: "closed" if int(raw) & 3 else None),
        "isolation": At(0x1132, means=lambda raw: "fault" if int(raw) >> 12 & 1 else "ok"),
        "cooling": At(0x1100, means=lambda raw: "fault" if int(raw) >> 14 & 1 else "ok"),
        "battery_state": At(0x1100, means=lambda raw: "connected" if int(raw) >> 10 & 7 else "?"),
    },
    # OpenEMS BatterySoltaroSingleRackVersionBImpl.java, single rack: offsets from 0x2000
    "soltaro-rack-b": {
        "battery_v": At(0x2100, "u16", 0.1), "battery_a": At(0x2101, "s16", 0.1), "soc_pct": At(0x2103),
        "cell_v_max": At(0x2106, "u16", 0.001), "cell_v_min": At(0x2108, "u16", 0.001),
        "soh_pct": At(0x2104, "u16", 0.1),
        "cell_temp_max_c": At(0x210A, "s16", 0.1), "cell_temp_min_c": At(0x210C, "s16", 0.1),
        "isolation_ohm": At(0x2116, "u16", 1000.0), **words(battery_alarms=At(0x2140)),
        "contactor": At(0x2001, means=lambda raw: {1: "closed", 2: "open"}.get(int(raw))),
        "charge_limit_a": At(0x2160, "u16", 0.1), "discharge_limit_a": At(0x2161, "u16", 0.1),
    },
}  # fmt: skip
