"""Maps a simulated meter, or the BMS of a simulated battery, to the registers of any device map of that kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dispatch.config.battery_ratings import dc_of_ac_w
from drivers.maps.schema import DeviceMap, Identity, Value
from drivers.maps.vocabulary import PHASES, UNITS
from drivers.twin.battery import TwinBattery
from drivers.twin.map_registers import Register, Text, map_image
from drivers.twin.physics import PHASE_SHARE, TwinMeter
from drivers.twin.registers import Getter, Image, exponent_for

Quantities = Mapping[str, Getter]
WORDED = ("enum", "bits")
WELL = {"battery_state": "connected", "contactor": "closed", "isolation": "ok", "cooling": "ok"}  # what its words say
CELLS = 226  # lithium iron phosphate cells of the twin's pack
EXPONENTS = {"V": -1, "A": -1, "Hz": -2, "1": -3}  # of scale registers


def mapped_meter_images(
    device_map: DeviceMap, meter: TwinMeter, units: Mapping[str, int], full_w: float
) -> dict[int, Image]:
    """The registers of that device by Modbus unit. `units`: unit ids by the names of the map.

    `full_w`: the most that a power's scale register must allow.
    """
    return images_of(device_map, _quantities(meter), meter.id, units, full_w)


def mapped_battery_images(device_map: DeviceMap, battery: TwinBattery, units: Mapping[str, int]) -> dict[int, Image]:
    """The registers of the BMS of that battery by Modbus unit. All is well with it, as far as its map has words."""
    full_w = max(battery.charge_w, battery.discharge_w)
    return images_of(device_map, _of_battery(battery), battery.config.id, units, full_w)


def _of_battery(battery: TwinBattery) -> dict[str, Getter]:
    """What the physics know of it, by the names of the vocabulary. Power and limits at its terminals, DC."""
    return {
        "soc_pct": lambda: battery.shown_soc_pct,
        "soh_pct": lambda: battery.soh_pct,
        "energy_wh": lambda: 1000 * battery.config.energy_kwh,
        "battery_w": lambda: dc_of_ac_w(battery.config, battery.w),
        "battery_v": lambda: battery.v,
        "battery_a": lambda: dc_of_ac_w(battery.config, battery.w) / battery.v,
        "charge_limit_w": lambda: battery.dc_limit_w(0),
        "discharge_limit_w": lambda: battery.dc_limit_w(1),
        "charge_limit_a": lambda: battery.dc_limit_w(0) / battery.v,
        "discharge_limit_a": lambda: battery.dc_limit_w(1) / battery.v,
        "battery_temp_c": lambda: battery.temp_c,
        "isolation_ohm": lambda: 1e6,
        "cell_temp_max_c": lambda: battery.temp_c + 1,
        "cell_temp_min_c": lambda: battery.temp_c - 1,
        "cell_v_max": lambda: battery.v / CELLS + 0.005,
        "cell_v_min": lambda: battery.v / CELLS - 0.005,
    }


def images_of(
    device_map: DeviceMap, known: Quantities, id: str, units: Mapping[str, int], full_w: float
) -> dict[int, Image]:
    """The registers of a device that shows these quantities, by the names of the vocabulary.

    What is not known is "no value", or 0 where the device has no pattern for that.
    """
    parts = _with_parts(device_map, known)
    items: list[Value | Identity] = [*device_map.values.values(), *device_map.identity]
    names = dict.fromkeys(item.at for item in items if item.address is not None)
    return {units[at]: _image(device_map, at, id, parts, full_w) for at in names}


def _image(device_map: DeviceMap, at: str, id: str, known: Quantities, full_w: float) -> Image:
    """The registers of one unit."""
    values = {name: v for name, v in device_map.values.items() if v.at == at and v.address is not None}
    identity = [one for one in device_map.identity if one.at == at]
    exponents = _exponents(values.values(), full_w)
    numbers = [
        _register(name, value, known.get(name), exponents.get(value.scale_register or -1, 0), device_map)
        for name, value in values.items()
        if value.type not in ("string", *WORDED)
    ]
    numbers += _worded(device_map, values)
    numbers += [Register(f"scale {address}", address, "s16", fixed=power) for address, power in exponents.items()]
    numbers += [_identifying(one, device_map) for one in identity if one.type != "string"]
    strings = _texts(device_map, values, id)
    # after the values: where it is one of them, too, the device must be known by it
    strings += [Text(one.address, one.registers, _text(one)) for one in identity if one.type == "string"]
    image = map_image(numbers, strings)
    image.functions = tuple({*map(device_map.function_of, values.values()), *map(device_map.function_of, identity)})
    return image


def _worded(device_map: DeviceMap, values: Mapping[str, Value]) -> list[Register]:
    """Numbers and bits that stand for words, as of a device with which all is well: several values may share one."""
    found: dict[int, Register] = {}
    for name, value in values.items():
        if value.type in WORDED and value.address is not None:
            before = found.get(value.address)
            raw = _well(name, value) | (int(before.fixed or 0) if before is not None else 0)
            kind, low_first = "u32" if value.registers == 2 else "u16", device_map.order_of(value) == "little"
            found[value.address] = Register(name, value.address, kind, fixed=raw, low_word_first=low_first)
    return list(found.values())


def _well(name: str, value: Value) -> int:
    """What its register holds where its word is that of WELL; 0 where there is no such word."""
    number = next((int(n) for n, word in (value.words or value.bits).items() if word == WELL.get(name)), None)
    if number is None:
        return 0
    return 1 << number if value.type == "bits" else number


def _texts(device_map: DeviceMap, values: Mapping[str, Value], id: str) -> list[Text]:
    texts = {"maker": "Skerry", "model": device_map.info.title, "serial": f"twin-{id}", "firmware": "1"}
    strings = {name: value for name, value in values.items() if value.type == "string"}
    return [Text(value.address or 0, value.registers, texts.get(name, "")) for name, value in strings.items()]


def _identifying(one: Identity, device_map: DeviceMap) -> Register:
    """A number by which the device is known."""
    number = one.one_of[0] if one.one_of else int(one.equals or 0)
    low_first = device_map.order_of(one) == "little"
    return Register("identity", one.address, one.type, fixed=number, low_word_first=low_first)


def _quantities(meter: TwinMeter) -> dict[str, Getter]:
    """What the physics know, by the names of the vocabulary. The power factor is 1, so there is no reactive power."""

    def amps(share: float) -> float:
        return abs(meter.reading.w) * share / meter.reading.v if meter.reading.v > 0 else 0.0

    known: dict[str, Getter] = {
        "w": lambda: meter.reading.w,
        "va": lambda: abs(meter.reading.w),
        "var": lambda: 0.0,
        "pf": lambda: 1.0,
        "hz": lambda: meter.reading.hz,
        "import_wh": lambda: meter.reading.import_wh,
        "export_wh": lambda: meter.reading.export_wh,
    }
    for n, (phase, share) in enumerate(zip(PHASES, PHASE_SHARE, strict=True)):
        known[f"w_{phase}"] = lambda n=n: meter.phases_w[n]  # type: ignore[misc]
        known[f"v_{phase}"] = lambda: meter.reading.v
        known[f"a_{phase}"] = lambda share=share: amps(share)  # type: ignore[misc]
    return known


def _with_parts(device_map: DeviceMap, known: Quantities) -> Quantities:
    """Also the map's own values of which a known one is computed: one that is added, or less another one."""
    found = dict(known)
    for name, value in device_map.values.items():
        if (
            name in known
            and len(value.sum_of) == 1
            and len(value.minus_of) <= 1
            and known.keys().isdisjoint(value.parts)
        ):
            found |= _parts(value, known[name])
    return found


def _parts(value: Value, whole: Getter) -> Quantities:
    """What the parts of a computed value hold: with two of them, one at a time."""
    (added,) = value.sum_of
    if not value.minus_of:
        return {added: whole}
    (taken,) = value.minus_of
    return {added: lambda: max(whole() or 0.0, 0.0), taken: lambda: max(-(whole() or 0.0), 0.0)}


def _exponents(values: Iterable[Value], full_w: float) -> dict[int, int]:
    """What the scale registers hold, by address: the powers of ten with which everything they scale fits."""
    found: dict[int, int] = {}
    for value in values:
        if value.scale_register is not None:
            unit = UNITS[value.unit][0]
            power = exponent_for(full_w, signed=True) if unit in ("W", "VA", "var") else EXPONENTS.get(unit, 0)
            found[value.scale_register] = max(power, found.get(value.scale_register, power))
    return found


def _register(name: str, value: Value, get: Getter | None, exponent: int, device_map: DeviceMap) -> Register:
    """A value's register. Content = value in the device's unit / (scale x 10^exponent), with the device's sign."""
    factor = UNITS[value.unit][1] if value.unit else 1.0
    per_unit = (-1 if value.invert else 1) / (factor * value.scale * 10.0**exponent)
    return Register(
        name,
        value.address or 0,
        value.type or "",
        per_unit,
        get,
        low_word_first=device_map.order_of(value) == "little",
        none=value.nan[0] if value.nan else None,
    )


def _text(identity: Identity) -> str:
    """A text by which the device is known."""
    begins = identity.starts_with if isinstance(identity.starts_with, str) else next(iter(identity.starts_with), "")
    return begins or str(identity.equals)
