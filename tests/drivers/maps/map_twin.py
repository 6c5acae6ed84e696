"""A device of any map on loopback: values become registers by pymodbus' own encoder, not by the driver's code."""

from __future__ import annotations

from collections.abc import Mapping

from pymodbus.client.mixin import ModbusClientMixin
from toxic import FakeDevice

from drivers.maps.schema import DeviceMap, Identity, Value, WordOrder
from drivers.maps.vocabulary import UNITS

TYPES = ModbusClientMixin.DATATYPE
DATA_TYPES = {
    "u16": TYPES.UINT16, "s16": TYPES.INT16, "u32": TYPES.UINT32, "s32": TYPES.INT32, "u64": TYPES.UINT64,
    "s64": TYPES.INT64, "f32": TYPES.FLOAT32, "f64": TYPES.FLOAT64,
}  # fmt: skip
FILL = 0xFFFF  # what lies between the values


def device_of(device_map: DeviceMap, values: Mapping[str, float], unit: int = 1) -> FakeDevice:
    """The device with these values, everything else at 0."""
    words: dict[int, int] = {}
    for name, value in device_map.values.items():
        put(words, device_map, name, values.get(name, 0.0))
        if value.scale_register is not None:
            words[value.scale_register] = 0
    identity = {}
    for each in device_map.identity:
        raw = _identity(each, device_map.order_of(each))
        identity.update({each.address + n: word for n, word in enumerate(raw)})
    near = {a for address in words for a in range(address, address + 128) if a < 1 << 16}
    blocks = {**dict.fromkeys(near, FILL), **words, **identity}
    return FakeDevice({address: [word] for address, word in blocks.items()}, unit)


def put(words: dict[int, int], device_map: DeviceMap, name: str, number: float) -> None:
    """Write one value's registers."""
    value = device_map.values[name]
    if value.address is None or value.type not in DATA_TYPES:
        return
    raw = _raw(value, number)
    for n, word in enumerate(_encoded(value.type, raw, device_map.order_of(value))):
        words[value.address + n] = word


def _raw(value: Value, number: float) -> float:
    raw = number / UNITS[value.unit][1] / value.scale
    raw = -raw if value.invert else raw
    return raw if (value.type or "").startswith("f") else round(raw)


def _encoded(kind: str, raw: float, order: WordOrder) -> list[int]:
    number = raw if kind.startswith("f") else int(raw)
    return ModbusClientMixin.convert_to_registers(number, DATA_TYPES[kind], word_order=order)


def _identity(identity: Identity, order: WordOrder) -> list[int]:
    if identity.type == "string":
        begins = identity.starts_with if isinstance(identity.starts_with, str) else identity.starts_with[0]
        text = (begins or str(identity.equals)).upper().ljust(2 * identity.size, "\0")
        return ModbusClientMixin.convert_to_registers(text, TYPES.STRING)
    number = identity.one_of[0] if identity.one_of else int(identity.equals or 0)
    kind = {1: "u16", 2: "u32", 4: "u64"}[identity.registers]
    return _encoded(kind, number, order)
