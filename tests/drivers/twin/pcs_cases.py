"""What the sources of each PCS family say, as far as a stranger with pymodbus' client needs it to read and command it.

Taken from the sources that the maps cite, not from the maps: addresses on the wire, types, units, signs, word order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pymodbus.client.mixin import ModbusClientMixin

KINDS = {
    "u16": "UINT16", "s16": "INT16", "u32": "UINT32", "s32": "INT32", "u64": "UINT64", "s64": "INT64",
    "f32": "FLOAT32", "f64": "FLOAT64",
}  # fmt: skip
Decode = Callable[[float], object]


class At(NamedTuple):
    """Where a value is; text: so many registers of characters. `means`: what a raw number says, else raw x factor."""

    address: int
    kind: str = "u16"
    factor: float = 1.0
    unit: str = ""  # of the map; "": the device itself
    function: int = 3
    low_first: bool = False
    text: int = 0
    means: Decode | None = None


class Sum(NamedTuple):
    """The sum of several values."""

    parts: tuple[At, ...]


class Write(NamedTuple):
    """One request that writes."""

    function: int
    address: int
    words: Sequence[int]
    unit: str = ""


class Case(NamedTuple):
    """One family. Powers in W, > 0 discharges."""

    map: str
    unit: int
    values: Mapping[str, At | Sum]
    order: Callable[[int], list[Write]]  # how its source commands a power
    own: At  # where its mode shows, and what it reads when it goes on by itself
    own_raw: int
    refused: Sequence[tuple[Write, int]]  # and the Modbus exception
    inert: Sequence[Write]  # in the wrong mode: taken, without an effect
    identity: tuple[str, int]  # unit and register by which it is known
    reverts_s: float = 0.0  # after the last order; 0: never
    units: Mapping[str, int] = {}
    own_w: float = 3000.0  # what it gives by itself at a load of 3000 W
    takes_dc: bool = False  # its power is that of the battery's terminals
    silent_w: float | None = None  # what it gives after that; None: as by itself
    personality: str = "compliant"  # of the twin
    left_after_s: float = 3.0  # how long after the end it goes on by itself


def u32(number: int) -> list[int]:
    """High word first; negative numbers in two's complement."""
    return list(struct.unpack(">2H", struct.pack(">I", number & 0xFFFFFFFF)))


def u16(number: int) -> list[int]:
    return [number & 0xFFFF]


async def seen(client: Any, case: Case, at: At | Sum) -> object:
    """One value, read and decoded by pymodbus' client."""
    if isinstance(at, Sum):
        return sum([await seen(client, case, part) for part in at.parts])  # type: ignore[misc]
    kind = ModbusClientMixin.DATATYPE.STRING if at.text else ModbusClientMixin.DATATYPE[KINDS[at.kind]]
    read = client.read_holding_registers if at.function == 3 else client.read_input_registers
    answer = await read(at.address, count=at.text or kind.value[1], device_id=case.units.get(at.unit, case.unit))
    assert not answer.isError(), (at, answer)
    order = "little" if at.low_first else "big"
    raw = client.convert_from_registers(answer.registers, kind, word_order=order)
    if at.text:
        return raw.rstrip("\0 ")
    return at.means(raw) if at.means else raw * at.factor


async def written(client: Any, case: Case, write: Write) -> int:
    """Send it; the Modbus exception, 0: taken."""
    unit = case.units.get(write.unit, case.unit)
    if write.function == 6:
        answer = await client.write_register(write.address, write.words[0], device_id=unit)
    else:
        answer = await client.write_registers(write.address, list(write.words), device_id=unit)
    return answer.exception_code if answer.isError() else 0


def of(words: Mapping[int, str]) -> Decode:
    """A word for each number."""
    return lambda raw: words[int(raw)]


def bit(words: Mapping[int, str], otherwise: str | None = None) -> Decode:
    """The word of the first of these bits that is set."""
    return lambda raw: next((word for n, word in words.items() if int(raw) >> n & 1), otherwise)


def none_set(raw: float) -> tuple[str, ...]:
    """What a register of alarm bits says that has none."""
    assert raw == 0
    return ()


def fox(enable: int, timeout: int, power: int) -> Callable[[int], list[Write]]:
    """remote_control_manager.py: time-out, enable, then the power; the low word in the higher register."""
    return lambda w: [Write(6, timeout, [60]), Write(6, enable, [1]), Write(16, power, u32(w))]


FOX_H3 = Case(
    "foxess-h3", 247,
    {
        "battery_w": At(31036, "s16"), "ac_w": Sum(tuple(At(31012 + n, "s16") for n in range(3))),
        "battery_alarms": At(31050, "u32", means=none_set), "isolation": At(31050, means=bit({11: "fault"}, "ok")),
        "pv_w": Sum((At(31002, "s16"), At(31005, "s16"))),
        "v": At(31006, "u16", 0.1), "temp_c": At(31032, "s16", 0.1),
        "battery_v": At(31034, "s16", 0.1), "battery_a": At(31035, "s16", 0.1), "battery_temp_c": At(31037, "s16", 0.1),
        "soc_pct": At(31038),
    },
    fox(44000, 44001, 44002), At(41000), 0,
    [(Write(6, 44000, [2]), 3), (Write(16, 44000, [1, 60]), 1), (Write(6, 44002, [0]), 1), (Write(6, 44004, [1]), 2)],
    [Write(6, 44001, [60]), Write(16, 44002, u32(-5000))],
    ("", 30001), reverts_s=60,
)  # fmt: skip
FOX_PRO = Case(
    "foxess-h3-pro", 247,
    {
        "battery_w": At(39237, "s32"), "ac_w": At(39134, "s32"),
        "pv_w": Sum(tuple(At(39279 + 2 * n, "s32") for n in range(6))), "model": At(30000, text=8),
        "v": At(39123, "u16", 0.1), "temp_c": At(39141, "s16", 0.1),
        "battery_v": At(37609, "u16", 0.1), "battery_a": At(37610, "s16", 0.1), "battery_temp_c": At(37611, "s16", 0.1),
        "soc_pct": At(37612), "cell_temp_max_c": At(37617, "s16", 0.1), "cell_temp_min_c": At(37618, "s16", 0.1),
        "cell_v_max": At(37619, "u16", 0.001), "cell_v_min": At(37620, "u16", 0.001),
    },
    fox(46001, 46002, 46003), At(49203), 1,
    [(Write(6, 46001, [2]), 3), (Write(16, 46001, [1, 60]), 1), (Write(6, 46003, [0]), 1), (Write(6, 44000, [1]), 2)],
    [Write(6, 46002, [60]), Write(16, 46003, u32(-5000))],
    ("", 30000), reverts_s=60,
)  # fmt: skip
GOODWE = Case(
    "goodwe-et", 247,
    {
        "serial": At(35003, text=8), "model": At(35011, text=5),
        "battery_w": At(35182, "s32"), "ac_w": At(35137, "s32"), "battery_alarms": At(37006, means=none_set),
        "cell_temp_max_c": At(37020, "s16", 0.1), "cell_temp_min_c": At(37021, "s16", 0.1),
        "cell_v_max": At(37022, "u16", 0.001), "cell_v_min": At(37023, "u16", 0.001),
        "pv_w": Sum((At(35105, "u32"), At(35109, "u32"))),
        "v": At(35121, "u16", 0.1), "hz": At(35123, "u16", 0.01), "temp_c": At(35176, "s16", 0.1),
        "connection": At(35136, means=of({0: "disconnected", 1: "connected"})),
        "battery_v": At(35180, "u16", 0.1), "battery_a": At(35181, "s16", 0.1),
        "state": At(35187, means=of({0: "standby", 1: "running", 2: "running", 3: "fault"})),
        "mode": At(35187, means=of({1: "grid_following", 2: "grid_forming"})),
        "battery_temp_c": At(37003, "s16", 0.1), "charge_limit_a": At(37004), "discharge_limit_a": At(37005),
        "soc_pct": At(37007), "soh_pct": At(37008),
    },
    lambda w: [Write(16, 47511, [11 if w < 0 else 12, abs(w)])], At(47511), 1,
    [(Write(16, 47511, [13, 0]), 3), (Write(6, 47510, [1]), 2)],
    [Write(6, 47512, [5000])],
    ("", 35011), takes_dc=True,
)  # fmt: skip
HUAWEI = Case(
    "huawei-luna2000", 1,
    {
        "model": At(30000, text=15), "serial": At(30015, text=10),
        "battery_w": At(37765, "s32", -1), "ac_w": At(32080, "s32"), "pv_w": At(32064, "s32"),
        "battery_state": At(37762, means=of({0: "disconnected", 1: "standby", 2: "connected", 3: "fault"})),
        "charge_limit_w": At(37046, "u32"), "discharge_limit_w": At(37048, "u32"), "energy_wh": At(37758, "u32"),
        "battery_temp_c": At(37022, "s16", 0.1), "soc_pct": At(37760, "u16", 0.1),
    },
    lambda w: [
        Write(16, 47249 if w > 0 else 47247, u32(abs(w))), Write(6, 47083, [2]), Write(6, 47246, [0]),
        Write(6, 47100, [2 if w > 0 else 1]),
    ],
    At(47100), 0,
    [(Write(6, 47100, [3]), 3), (Write(6, 47246, [2]), 3), (Write(6, 47247, [1]), 1), (Write(6, 40201, [0]), 2)],
    [Write(16, 47249, u32(5000)), Write(6, 47083, [2])],
    ("", 30000), reverts_s=120, takes_dc=True,
)  # fmt: skip


def f32(number: float) -> list[int]:
    """Low word first."""
    return list(reversed(struct.unpack(">2H", struct.pack(">f", number))))


def low(address: int, kind: str = "f32") -> At:
    return At(address, kind, low_first=True)


KOSTAL = Case(
    "kostal-plenticore", 71,
    {
        "serial": At(14, text=8), "model": At(768, text=32), "rated_w": At(531), "hz": low(152), "v": low(158),
        "state": low(56, "u32")._replace(means=of({0: "off", 6: "running"})), "ac_w": low(172), "pv_w": low(1066),
        "battery_w": At(582, "s16"), "battery_a": low(200), "soc_pct": low(210), "battery_temp_c": low(214),
        "battery_v": low(216), "energy_wh": low(1068), "charge_limit_w": low(1076), "discharge_limit_w": low(1078),
        "control": At(1080, means=of({0: "local", 1: "local", 2: "remote"})),
    },
    lambda w: [Write(16, 1034, f32(w))],
    At(1080), 2,
    [(Write(6, 1034, [0]), 1), (Write(6, 1080, [3]), 3), (Write(6, 533, [50]), 2)],
    [Write(6, 1080, [0]), Write(16, 1034, f32(-5000))],
    ("", 768), reverts_s=30, takes_dc=True, left_after_s=31.0,
)  # fmt: skip
SINEXCEL = Case(
    "sinexcel-pws2", 1,
    {
        "model": At(1, text=16), "serial": At(17, text=8),
        "state": At(32, means=bit({0: "fault", 7: "standby", 5: "throttled", 2: "running"}, "off")),
        "mode": At(32, means=bit({4: "grid_forming", 3: "grid_following"})),
        "connection": At(32, means=bit({3: "connected"}, "disconnected")), "alarms": At(36, means=none_set),
        "hz": At(107, "s16", 0.01), "w": At(122, "s16", 10), "w_l1": At(110, "s16", 10), "w_l2": At(111, "s16", 10),
        "w_l3": At(112, "s16", 10), "temp_c": At(132, "s16"), "setpoint_w": At(135, "s16", 100),
        "battery_v": At(142, "s16", 0.1),
        "charge_limit_a": At(225, "u16", 0.1), "discharge_limit_a": At(226, "u16", 0.1),
    },
    lambda w: [Write(6, 327, [60]), Write(6, 135, u16(w // 100))], At(135, "s16"), 0,
    [(Write(6, 135, [301]), 3), (Write(16, 135, [10]), 1), (Write(6, 790, [0]), 2), (Write(6, 650, [2]), 3)],
    [],
    ("", 753), reverts_s=60, own_w=0.0,
)  # fmt: skip
SMA_VALUES = {
    "state": At(30201, "u32", means=of({35: "fault", 303: "off", 307: "running", 455: "running"})),
    "rated_w": At(30231, "u32"), "w": At(30775, "s32"), "v": At(30783, "u32", 0.01), "hz": At(30803, "u32", 0.01),
    "soc_pct": At(30845, "u32"), "battery_temp_c": At(30849, "s32", 0.1), "battery_v": At(30851, "u32", 0.01),
    "connection": At(30881, "u32", means=of({1779: "disconnected", 1780: "connected", 1781: "disconnected"})),
    "mode": At(30881, "u32", means=of({1780: "grid_following", 1781: "grid_forming"})),
    "control": At(31061, "u32", means=of({1129: "remote", 1130: "local"})),
    "energy_wh": At(40187, "u32"), "charge_limit_w": At(40189, "u32"), "discharge_limit_w": At(40191, "u32"),
}  # fmt: skip
SUNNY_ISLAND = Case(
    "sma-sunny-island", 3, SMA_VALUES,
    lambda w: [Write(16, 40149, [*u32(w), *u32(802)])], At(30881, "u32"), 1780,
    [(Write(16, 40151, u32(804)), 3), (Write(6, 40149, [0]), 1), (Write(16, 40009, u32(381)), 2)],
    [Write(16, 40149, u32(-5000))],
    ("", 30054),
)  # fmt: skip
SUNNY_BOY = Case(
    "sma-sunny-boy-storage", 3, SMA_VALUES,
    lambda w: [
        Write(16, 40236, u32(2290 if w > 0 else 2289 if w < 0 else 2424)),
        *(Write(16, 40793 + 2 * n, u32(x)) for n, x in enumerate((max(-w, 0), max(-w, 0), max(w, 0), max(w, 0), 0))),
    ],
    At(30881, "u32"), 1780,
    [(Write(16, 40236, u32(2288)), 3), (Write(6, 40236, [0]), 1), (Write(16, 40793, u32(-1)), 3)],
    [Write(16, 40236, u32(2289)), Write(16, 40793, u32(5000)), Write(16, 40795, u32(5000))],
    ("", 30052),
)  # fmt: skip
SUNGROW = Case(
    "sungrow-sh", 1,
    {
        "serial": At(4989, text=10, function=4), "rated_w": At(5000, "u16", 100, function=4),
        "battery_w": At(5213, "s32", function=4, low_first=True), "ac_w": At(13033, "s32", function=4, low_first=True),
        "pv_w": At(5016, "u32", function=4, low_first=True), "v": At(5018, "u16", 0.1, function=4),
        "hz": At(5241, "u16", 0.01, function=4), "charge_limit_a": At(5634, function=4),
        "discharge_limit_a": At(5635, function=4), "battery_v": At(13019, "u16", 0.1, function=4),
        "soc_pct": At(13022, "u16", 0.1, function=4), "soh_pct": At(13023, "u16", 0.1, function=4),
        "battery_temp_c": At(13024, "s16", 0.1, function=4),
    },
    lambda w: [
        Write(6, 13079, [60]), Write(6, 13051, [abs(w)]), Write(6, 13050, [0xAA if w < 0 else 0xBB]),
        Write(6, 13049, [3]),
    ],
    At(13049), 0,
    [(Write(6, 13049, [1]), 3), (Write(6, 13050, [0xAB]), 3), (Write(6, 13073, [0]), 2)],
    [Write(6, 13051, [5000]), Write(6, 13050, [0xAA])],
    ("", 4999), reverts_s=60, takes_dc=True,
)  # fmt: skip
VICTRON = Case(
    "victron-gx", 100,
    {
        "serial": At(800, text=6),
        "w": Sum(tuple(At(12 + n, "s16", -10, "vebus") for n in range(3))),
        "ac_out_w": Sum(tuple(At(23 + n, "s16", 10, "vebus") for n in range(3))),
        "ac_out_w_l1": At(23, "s16", 10, "vebus"), "ac_out_w_l2": At(24, "s16", 10, "vebus"),
        "ac_out_w_l3": At(25, "s16", 10, "vebus"),
        "v": At(15, "u16", 0.1, "vebus"), "hz": At(21, "s16", 0.01, "vebus"),
        "connection": At(29, unit="vebus", means=lambda raw: "disconnected" if raw == 240 else "connected"),
        "state": At(31, unit="vebus", means=lambda raw: {0: "off", 2: "fault"}.get(int(raw), "running")),
        "mode": At(31, unit="vebus", means=lambda raw: "grid_forming" if raw == 9 else "grid_following"),
        "rated_w": At(130, "u32", unit="vebus"),
        "battery_w": At(256, "s32", -1, "battery"), "battery_v": At(259, "u16", 0.01, "battery"),
        "battery_a": At(261, "s16", -0.1, "battery"), "battery_temp_c": At(262, "s16", 0.1, "battery"),
        "soc_pct": At(266, "u16", 0.1, "battery"), "soh_pct": At(304, "u16", 0.1, "battery"),
        "charge_limit_a": At(307, "u16", 0.1, "battery"), "discharge_limit_a": At(308, "u16", 0.1, "battery"),
        "cell_temp_min_c": At(318, "s16", 0.1, "battery"), "cell_temp_max_c": At(319, "s16", 0.1, "battery"),
        "battery_alarms": At(267, unit="battery", means=none_set),
        "battery_state": At(1282, unit="battery", means=of({9: "connected", 10: "fault", 14: "standby"})),
        "cell_v_min": At(1290, "u16", 0.01, "battery"), "cell_v_max": At(1291, "u16", 0.01, "battery"),
    },
    lambda w: [
        Write(16, 2902, [3]), Write(16, 37, [*u16(-w // 3), 0, 0, *u16(-w // 3), *u16(-w // 3)], "vebus"),
    ],
    At(2902), 1,
    [(Write(6, 2902, [4]), 3), (Write(6, 62, [1], "vebus"), 2), (Write(16, 38, [2], "vebus"), 3)],
    [Write(16, 37, u16(5000), "vebus")],
    ("", 800), reverts_s=60, silent_w=0.0, units={"vebus": 227, "battery": 225},
)  # fmt: skip
CASES = [FOX_H3, FOX_PRO, GOODWE, HUAWEI, KOSTAL, SINEXCEL, SUNNY_BOY, SUNNY_ISLAND, SUNGROW, VICTRON]

# SunSpec speaks for itself: `tests.drivers.test_sunspec_stranger` compares its values.
SUNSPEC = [
    Case("", 1, {}, lambda _: [], At(0), 0, [], [], ("", 0), reverts_s=60, own_w=0.0, personality=personality)
    for personality in ("deaf-heartbeat", "legacy-storage")  # a compliant one also reverts by its heartbeat, earlier
]
