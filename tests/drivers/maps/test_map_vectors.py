"""Every map gives the values that were worked out by hand from its sources."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from drivers.maps.battery import battery_of
from drivers.maps.decoding import decode, matches, registers_at
from drivers.maps.loader import bundled, load
from drivers.maps.named_writes import registers_of_word
from drivers.maps.schema import DEVICE, DeviceMap
from drivers.maps.switch import position_of
from drivers.sample import Sample

VECTORS = Path(__file__).parent.parent / "vectors"
READ = [
    pytest.param(path.stem, n, id=f"{path.stem}-{n}")
    for path in sorted(VECTORS.glob("*.toml"))
    for n in range(len(tomllib.loads(path.read_text())["read"]))
]


def vector(name: str, n: int) -> dict[str, Any]:
    read: dict[str, Any] = tomllib.loads((VECTORS / f"{name}.toml").read_text())["read"][n]
    return read


def words_of(device_map: DeviceMap, read: dict[str, Any]) -> dict[tuple[str, int, int], int]:
    """A vector's registers: of the unit `at`, by every function that the map uses there."""
    at = read.get("at", DEVICE)
    functions = {device_map.function_of(value) for value in device_map.values.values() if value.at == at}
    return {
        (at, function, int(first) + n): word
        for first, words in read["registers"].items()
        for n, word in enumerate(words)
        for function in functions
    }


@pytest.mark.parametrize(("name", "n"), READ)
def test_registers_give_the_values_of_the_source(name: str, n: int) -> None:
    read, device_map = vector(name, n), load(name)
    assert read["source"].strip()
    found = decode(device_map, words_of(device_map, read))
    for value, expected in read["values"].items():
        if expected is False:
            assert found[value] is None, value
        else:
            assert found[value] == _approximately(expected), value


def _approximately(expected: Any) -> Any:
    return tuple(expected) if isinstance(expected, list) else pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [n for n in bundled() if "command" in load(n).writes])
def test_orders_write_what_the_source_says(name: str) -> None:
    device_map, orders = load(name), tomllib.loads((VECTORS / f"{name}.toml").read_text())["order"]
    command = device_map.writes["command"]
    assert {word for order in orders for word in order["writes"]} == set(command.words.values())
    for order in orders:
        for word, ((function, at, address, words),) in order["writes"].items():
            assert (function, at, address) == (device_map.access.write_function, command.at, command.address)
            assert words == registers_of_word(device_map, command, word)


@pytest.mark.parametrize("name", bundled())
def test_a_map_that_says_vectors_has_them(name: str) -> None:
    device_map = load(name)
    if device_map.info.verified != "vectors":
        return
    reads = tomllib.loads((VECTORS / f"{name}.toml").read_text())["read"]
    shown = {value for read in reads for value in read["values"]}
    assert device_map.needed in shown


@pytest.mark.parametrize("name", [n for n in bundled() if load(n).info.kind == "meter"])
def test_a_meter_is_shown_importing_and_exporting(name: str) -> None:
    powers = [read["values"].get("w", 0.0) for read in tomllib.loads((VECTORS / f"{name}.toml").read_text())["read"]]
    assert min(powers) < 0 < max(powers)


@pytest.mark.parametrize("fill", [0x0000, 0xFFFF])
@pytest.mark.parametrize("name", bundled())
def test_registers_without_content_tell_no_position_and_no_usable_battery(name: str, fill: int) -> None:
    """What gateways answer for a device behind them that is gone: zeros, or all ones."""
    device_map = load(name)
    identity = device_map.identity
    if identity and not all(matches(one, [fill] * one.registers, device_map.order_of(one)) for one in identity):
        return  # then it is not that device
    words = {place: fill for value in device_map.values.values() for place in registers_at(device_map, value)}
    sample = Sample(decode(device_map, words))
    match device_map.info.kind:
        case "switch":
            assert position_of(device_map, sample) not in ("open", "closed")
        case "battery":
            found = battery_of("bat1", lambda _name: sample)
            stands = found.contactor.good == "open" or found.state.good == "fault"
            limits = (found.charge_limit_w.good, found.discharge_limit_w.good)
            assert found.soc_pct.good is None or stands or limits == (0.0, 0.0)
        case "meter":
            assert fill == 0 or sample.number("w") is None or abs(sample.number("w") or 0.0) < 1.0
        case kind:
            pytest.fail(f"a map of kind {kind} that takes empty registers for its device")
