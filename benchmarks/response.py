"""How fast the battery is told: load step in the twin -> setpoint in the PCS's register -> power at the PCC settled.

The observer is a stranger: pysunspec2 finds the registers, pymodbus reads them every few milliseconds, over sockets of
its own. The twin's meter has no delay of its own here; a real one's is added to every figure.
Load and PV stand still but for the steps.
"""

from __future__ import annotations

import argparse
import random
import struct
import time
from dataclasses import dataclass

from pymodbus.client import ModbusTcpClient
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import Plant, running

STEP_W = 20_000.0
LOOK_S = 0.004  # between two looks at the registers: the resolution of the figures
WINDOW_S = 2.5  # after each step
SETTLED_W = 0.1 * STEP_W
GOALS_MS = {5: 250.0, 10: 150.0}
TYPES = {"int16": ">h", "int32": ">i"}


@dataclass(frozen=True)
class Register:
    """One SunSpec point as a stranger found it."""

    client: ModbusTcpClient
    unit: int
    address: int
    form: str
    scale: float

    def read(self) -> float:
        """Its value now. Raises OSError when the twin does not answer properly."""
        count = struct.calcsize(self.form) // 2
        answer = self.client.read_holding_registers(self.address, count=count, device_id=self.unit)
        if answer.isError() or len(answer.registers) != count:
            raise OSError(f"register {self.address} of unit {self.unit}: {answer}")
        words = b"".join(word.to_bytes(2, "big") for word in answer.registers)
        return float(struct.unpack(self.form, words)[0]) * self.scale


def measure(steps: int = 120) -> list[Figure]:
    """Both tick rates, one after the other."""
    return [figure for rate_hz in GOALS_MS for figure in _at(rate_hz, steps)]


def _at(rate_hz: int, steps: int) -> list[Figure]:
    changes = {
        "gateway": {"rate_hz": rate_hz},
        "io": {"deadline_s": 0.4 / rate_hz},
        "grid": {"ramp_w_per_s": 100.0},  # slow: the battery has to take the whole step, import stays where it was
        "plan": {"enabled": False},
        "twin": {"meter_delay_s": 0.0, "host_node": False, "load_noise": 0.0, "pv_peak_w": 0.0},
    }
    with running(changes, nodes_w=12_000) as plant:
        time.sleep(5)
        setpoint, import_ = register(plant, "pcs1", 704, "WSet"), register(plant, "grid", None, "W")
        told_ms, settled_ms = [], []
        chance = random.Random(rate_hz)
        for n in range(steps):
            time.sleep(chance.uniform(0.2, 0.2 + 1 / rate_hz))  # at any phase of the tick
            told_s, settled_s = _one_step(plant, setpoint, import_, STEP_W if n % 2 == 0 else -STEP_W)
            told_ms.append(1000 * told_s)
            settled_ms.append(1000 * settled_s)
    what = f"load step -> setpoint on the wire, {rate_hz} Hz"
    return [
        Figure(f"{what}, p50 of {steps}", quantile(told_ms, 0.5), "ms"),
        Figure(f"{what}, p99", quantile(told_ms, 0.99), "ms", goal=GOALS_MS[rate_hz]),
        Figure(f"load step -> PCC within 10 % of the step, {rate_hz} Hz, p50", quantile(settled_ms, 0.5), "ms"),
        Figure(f"load step -> PCC within 10 % of the step, {rate_hz} Hz, p99", quantile(settled_ms, 0.99), "ms"),
    ]


def _one_step(plant: Plant, setpoint: Register, import_: Register, load_step_w: float) -> tuple[float, float]:
    """Add to the load; seconds until the setpoint has moved by half the step, and until import is back for good."""
    setpoint_w, import_w = setpoint.read(), import_.read()
    sent_s = time.perf_counter()
    plant.tell_twin(load_step_w=load_step_w)
    told_s: float | None = None
    outside_s = sent_s
    while (now_s := time.perf_counter()) < sent_s + WINDOW_S:
        if told_s is None and abs(setpoint.read() - setpoint_w) > STEP_W / 2:
            told_s = time.perf_counter() - sent_s
        if abs(import_.read() - import_w) > SETTLED_W:
            outside_s = time.perf_counter()
        time.sleep(max(0.0, LOOK_S - (time.perf_counter() - now_s)))
    if told_s is None:
        raise RuntimeError(
            f"no setpoint within {WINDOW_S:g} s of a load step to {load_step_w:g} W; it stayed near {setpoint_w:g} W"
        )
    return told_s, outside_s - sent_s


def register(plant: Plant, device: str, model: int | None, point: str) -> Register:
    """Find a point by scanning the device as any SunSpec client would; `model` None: the first model that has it."""
    host, port, unit = plant.endpoints[device]
    scan = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr=host, ipport=port)
    scan.scan()
    found = next(
        (m, m.points[point])
        for number, models in scan.models.items()
        if isinstance(number, int) and model in (None, number)
        for m in models
        if point in m.points
    )
    holder, reading = found
    holder.read()  # brings the scale factors
    scan.close()
    exponent = holder.points[reading.sf].value if reading.sf else 0
    client = ModbusTcpClient(host, port=port, timeout=2, retries=0)
    if not client.connect():  # type: ignore[no-untyped-call]
        raise OSError(f"{host}:{port}: no connection")
    return Register(client, unit, holder.model_addr + reading.offset, TYPES[reading.pdef["type"]], 10.0**exponent)


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--steps", type=int, default=120)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
