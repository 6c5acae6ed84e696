"""What it costs to read devices: CPU of 50 meters at 4 Hz, each on a connection of its own, by framing.

The devices are servers of pymodbus in another process; each reading is one request of 105 registers. The figure is
all that the reading process does: the timer of each poll, both system calls on the socket, the checks, the values.

Read "in ticks" they are asked together, as a gateway does; "spread" each is asked at a time of its own, as it is where
devices have a `period_s`. The difference is what it costs to wake up for each: on a quiet machine more than the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import time
from multiprocessing.connection import Connection

from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from benchmarks.figures import Figure, main, quantile
from drivers.config import IoConfig, MeterDevice
from drivers.devices import Driver, make_drivers
from drivers.modbus.address import Address
from drivers.twin.devices import meter_image
from drivers.twin.physics import TwinMeter

DEADLINE_S = 2.0
FRAMERS = {"tcp": FramerType.SOCKET, "rtu+tcp": FramerType.RTU}


def measure(seconds: float = 30.0, devices: int = 50, rate_hz: float = 4.0) -> list[Figure]:
    """CPU time over wall time of the process that reads, in percent of one core; and how long readings take."""
    figures = []
    for scheme in FRAMERS:
        for how, spread in (("in ticks", False), ("spread", True)):
            share_pct, took_s = _read_from(scheme, devices, rate_hz, seconds, spread)
            what = f"{devices} devices at {rate_hz:g} Hz, {scheme}, {how}"
            figures += [
                Figure(f"CPU of {what}", share_pct, "% of a core", goal=10),
                Figure(f"time of a reading, median, {what}", 1000 * quantile(took_s, 0.5), "ms"),
                Figure(f"time of a reading, p99, {what}", 1000 * quantile(took_s, 0.99), "ms"),
            ]
    return figures


def _read_from(scheme: str, devices: int, rate_hz: float, seconds: float, spread: bool) -> tuple[float, list[float]]:
    """CPU in percent of a core, and the time of each reading. The devices run as a process meanwhile."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, scheme, devices), daemon=True)
    process.start()
    ports: list[int] = here.recv()
    try:
        return asyncio.run(_read_all(scheme, ports, rate_hz, seconds, spread))
    finally:
        here.send("end")
        process.join()


async def _read_all(
    scheme: str, ports: list[int], rate_hz: float, seconds: float, spread: bool
) -> tuple[float, list[float]]:
    at = {f"meter-{n}": Address(scheme, "127.0.0.1", port) for n, port in enumerate(ports)}
    drivers = make_drivers(
        [MeterDevice(id=name, url="twin") for name in at], [], [], [], [],
        IoConfig(deadline_s=DEADLINE_S), lambda device, _url, unit: (at[device], unit),
    )  # fmt: skip
    await asyncio.gather(*(driver.read() for driver in drivers))  # connects, and finds the models
    gc.collect()
    gc.freeze()  # as the gateway does once it runs
    took_s: list[float] = []
    cpu_s, began_s = time.process_time(), time.monotonic()
    phases = [n / len(drivers) / rate_hz if spread else 0.0 for n in range(len(drivers))]
    await asyncio.gather(*(_poll(d, phase, rate_hz, seconds, took_s) for d, phase in zip(drivers, phases, strict=True)))
    share_pct = 100 * (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    for driver in drivers:
        await driver.close()
    return share_pct, took_s


async def _poll(driver: Driver, phase_s: float, rate_hz: float, seconds: float, took_s: list[float]) -> None:
    """Read one device at its rate."""
    loop = asyncio.get_running_loop()
    began_s = loop.time() + phase_s
    for n in range(round(seconds * rate_hz)):
        await asyncio.sleep(max(0.0, began_s + n / rate_hz - loop.time()))
        asked_s = loop.time()
        await driver.read()
        took_s.append(loop.time() - asked_s)


def _serve(pipe: Connection, scheme: str, devices: int) -> None:
    asyncio.run(_served(pipe, scheme, devices))


async def _served(pipe: Connection, scheme: str, devices: int) -> None:
    image = meter_image(TwinMeter("grid", "grid", 0.0), 100_000.0)
    ports, servers = [], []
    for _ in range(devices):
        registers = SimData(image.base, values=list(image.start), datatype=DataType.REGISTERS)
        server = ModbusTcpServer(SimDevice(id=1, simdata=[registers]), framer=FRAMERS[scheme], address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        listening = server.transport
        assert isinstance(listening, asyncio.Server)
        ports.append(listening.sockets[0].getsockname()[1])
        servers.append(server)
    pipe.send(ports)
    await asyncio.to_thread(pipe.recv)
    for server in servers:
        await server.shutdown()


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--rate-hz", type=float, default=4.0)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
