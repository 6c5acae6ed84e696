"""Runs the twin as a process: physics on the scaled clock, devices on Modbus TCP, a control socket.

Everything runs on one event loop. Whoever starts it gets one `Announcement`: where each device listens and the clock's
parameters, so that a gateway on this machine shares the same site time.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import psutil

from dispatch.config.off_grid import GensetConfig
from dispatch.config.schema import GridConfig
from drivers.clock import ScaledClock
from drivers.config import BatteryDevice, MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.maps.loader import load
from drivers.maps.schema import DEVICE
from drivers.node_config import NodeDevice
from drivers.twin.announcement import Announcement
from drivers.twin.commands import answer
from drivers.twin.config import TwinConfig
from drivers.twin.devices import meter_image, node_image, pcs_image, pv_image, switch_image
from drivers.twin.exporters import TwinExporters
from drivers.twin.families.family import Installed
from drivers.twin.load import TwinNode
from drivers.twin.mapped_meter import mapped_battery_images, mapped_meter_images
from drivers.twin.mapped_pcs import FAMILIES
from drivers.twin.pcs import TwinPcs
from drivers.twin.physics import STEP_S, TwinMeter, TwinSite
from drivers.twin.pv import TwinPv
from drivers.twin.registers import Image
from drivers.twin.server import TwinServer
from drivers.twin.transfer_switch import ATYS_P_M, atys_p_m_image

WAKE_S = 0.02  # machine seconds between steps
MOST_STEPS = 100  # in one wake-up; after a longer pause of the machine the steps grow instead
HOST_PERIOD_S = 1.0
MAX_LINE = 4096

S = TypeVar("S", TwinMeter, TwinPcs)
D = TypeVar("D", MeterDevice, NodeDevice, PcsDevice, PvDevice, SwitchDevice)


async def run_twin(
    twin: TwinConfig,
    grid: GridConfig,
    batteries: Sequence[BatteryDevice] = (),
    pcs: Sequence[PcsDevice] = (),
    meters: Sequence[MeterDevice] = (),
    pv: Sequence[PvDevice] = (),
    switches: Sequence[SwitchDevice] = (),
    nodes: Sequence[NodeDevice] = (),
    *,
    announce: Callable[[Announcement], None],
    stop: asyncio.Event,
    base: Path | None = None,
    control_path: Path | None = None,
    child: bool = False,
    genset: GensetConfig | None = None,
) -> None:
    """Serve every device whose url is "twin" until `stop` is set.

    base: the site file's directory, for traces named relative to it. control_path: default, a socket in a new private
    directory, removed at the end. child: as announced. Raises TraceError, MapError, ValueError (twin.start_utc) and
    OSError (a socket cannot be had).
    """
    site = TwinSite.from_sections(
        twin,
        grid,
        batteries,
        _simulated(pcs),
        _simulated(meters),
        _simulated(pv),
        _simulated(switches),
        _simulated([n for n in nodes if n.source == "modbus"]),
        base=base,
        genset=genset,
    )
    host = _Host(site, next((n for n in nodes if n.source == "psutil"), None)) if twin.host_node else None
    units = {p.id: p.unit for p in pcs} | {m.id: m.unit for m in meters}
    units |= {p.id: p.unit for p in pv} | {s.id: s.unit for s in switches} | {b.id: b.unit for b in batteries}
    hybrids = hybrids_of(_simulated(pcs), _simulated(pv))
    mapped = _mapped(site, twin, grid, (*pcs, *meters, *batteries), base, hybrids)
    mapped |= _transfer_switches(site, switches)
    async with AsyncExitStack() as stack:
        endpoints: dict[str, tuple[str, int, int]] = {}
        for devices in _servers(site, grid, units, mapped, hybrids, host):
            server = TwinServer(devices, site)
            address, port = await server.start()
            stack.push_async_callback(server.stop)
            endpoints |= {name: (address, port, units.get(name, unit)) for unit, (name, _) in devices.items()}
        endpoints |= {pv_id: endpoints[pcs_id] for pv_id, pcs_id in hybrids.items()}
        if twin.exporters_port:
            exporters = TwinExporters(site.load.nodes)
            await exporters.start(twin.exporters_port)
            stack.push_async_callback(exporters.stop)
        control = await _control(site, control_path, stack)
        clock = ScaledClock(site.start_utc_s, time.monotonic(), twin.speed)
        announce(Announcement(endpoints, control, clock.t0_utc_s, clock.m0_s, clock.speed, os.getpid(), child))
        await _live(site, clock, host, stop)


def _simulated(devices: Sequence[D]) -> list[D]:
    return [device for device in devices if device.url == "twin"]


def hybrids_of(pcs: Sequence[PcsDevice], pv: Sequence[PvDevice]) -> dict[str, str]:
    """The PV inverters, by id, that are the PV of a PCS: its id. They are one device, with one map and one unit."""
    places = {(device.map, device.unit): device.id for device in pcs if device.map}
    return {device.id: places[device.map, device.unit] for device in pv if (device.map, device.unit) in places}


async def _live(site: TwinSite, clock: ScaledClock, host: _Host | None, stop: asyncio.Event) -> None:
    """Keep the physics at site time until `stop`."""
    while not stop.is_set():
        if host is not None:
            host.update()
        dt_s = clock.mono_s() - site.t_s
        site.advance(max(0.0, dt_s), max(STEP_S, dt_s / MOST_STEPS))
        try:
            async with asyncio.timeout(WAKE_S):
                await stop.wait()
        except TimeoutError:
            continue


def _mapped(
    site: TwinSite,
    twin: TwinConfig,
    grid: GridConfig,
    devices: Sequence[MeterDevice | PcsDevice | BatteryDevice],
    base: Path | None,
    hybrids: Mapping[str, str],
) -> dict[str, dict[int, Image]]:
    """The registers by Modbus unit of the simulated devices that have a device map. Raises MapError."""
    beside = None if base is None else base / "site.toml"
    found: dict[str, dict[int, Image]] = {}
    for device in (each for each in devices if each.url == "twin" and each.map):
        device_map = load(device.map, beside)
        ids = {**device_map.units, **device.units, DEVICE: device.unit}
        if isinstance(device, MeterDevice):
            found[device.id] = mapped_meter_images(device_map, _by_id(site.meters, device.id), ids, _full_w(grid))
        elif isinstance(device, BatteryDevice):
            packs = {p.battery.config.id: p.battery for p in site.pcs}
            found[device.id] = mapped_battery_images(device_map, packs[device.id], ids)
        else:
            installed = Installed(
                _by_id(site.pcs, device.id), site, ids, twin.silence_s, _panels(site, device, hybrids)
            )
            found[device.id] = FAMILIES[device_map.name](installed).images()
    return found


def _transfer_switches(site: TwinSite, switches: Sequence[SwitchDevice]) -> dict[str, dict[int, Image]]:
    """The registers by Modbus unit of the simulated switches that have another map than our own."""
    units = {s.id: s.unit for s in _simulated(switches) if s.map == ATYS_P_M}
    return {s.id: {units[s.id]: atys_p_m_image(s, site)} for s in site.switches if s.id in units}


def _panels(site: TwinSite, pcs: PcsDevice, hybrids: Mapping[str, str]) -> TwinPv | None:
    """The PV of a hybrid."""
    return next((each for each in site.pv if hybrids.get(each.id) == pcs.id), None)


def _by_id(there: Sequence[S], id: str) -> S:
    return next(each for each in there if each.id == id)


def _full_w(grid: GridConfig) -> float:
    """The most that a meter must be able to show."""
    return 1.5 * grid.fuse_w


def _own_ports(
    site: TwinSite,
    grid: GridConfig,
    units: dict[str, int],
    mapped: Mapping[str, dict[int, Image]],
    hybrids: Mapping[str, str],
) -> list[dict[int, tuple[str, Image]]]:
    """The devices that have a port each: meters, PCS, PV and switches."""
    images = [(m.id, meter_image(m, _full_w(grid))) for m in site.meters if m.id not in mapped]
    images += [(p.id, pcs_image(p, site)) for p in site.pcs if p.id not in mapped]
    images += [(p.id, pv_image(p, site)) for p in site.pv if p.id not in hybrids]
    images += [(s.id, switch_image(s, site)) for s in site.switches if s.id not in mapped]
    served = [{units[name]: (name, image)} for name, image in images]
    return served + [{unit: (name, image) for unit, image in of.items()} for name, of in mapped.items()]


def _servers(
    site: TwinSite,
    grid: GridConfig,
    units: dict[str, int],
    mapped: Mapping[str, dict[int, Image]],
    hybrids: Mapping[str, str],
    host: _Host | None,
) -> list[dict[int, tuple[str, Image]]]:
    """What each TCP port serves. Nodes share one, under their unit ids; this machine's own node comes last."""
    served = _own_ports(site, grid, units, mapped, hybrids)
    names = {d.unit: d.id for d in site.node_devices}
    free = (unit for unit in range(1, 248) if unit not in names)
    names |= {next(free): f"twin-node-{n + 1}" for n in range(len(names), len(site.load.nodes))}
    nodes = {unit: (name, node) for (unit, name), node in zip(names.items(), site.load.nodes, strict=True)}
    if host:
        nodes[next(free)] = "twin-host", host.node
    return [*served, {unit: (name, node_image(node, site.load)) for unit, (name, node) in nodes.items()}]


class _Host:
    """One node of the site is this machine: power estimated from its real CPU use, as `source = "psutil"` does."""

    def __init__(self, site: TwinSite, device: NodeDevice | None) -> None:
        device = device or NodeDevice(id="twin-host", source="psutil")
        self._site, self._idle_w, self._full_w = site, device.idle_w, device.full_w
        self._due_s = 0.0
        self.node = TwinNode(0)
        psutil.cpu_percent()  # the first call only sets its starting point

    def update(self) -> None:
        """Once a second of the machine's time: CPU, memory, power."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        cpu_pct = psutil.cpu_percent() if self._due_s else 0.0
        self._due_s = now_s + HOST_PERIOD_S
        self.node.cpu_pct, self.node.memory_pct = cpu_pct, psutil.virtual_memory().percent
        self.node.w = self._site.load.host_w = self._idle_w + cpu_pct / 100 * (self._full_w - self._idle_w)


async def _control(site: TwinSite, path: Path | None, stack: AsyncExitStack) -> str:
    """Listen for orders (see `commands`); return the socket's path."""
    if path is None:
        directory = tempfile.mkdtemp(prefix="skerry-twin-")
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        path = Path(directory) / "control.sock"
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(answer(site, line))
                await writer.drain()
        except ValueError:  # a line longer than MAX_LINE
            writer.write(b'{"ok":false,"error":"expected lines of at most %d bytes"}\n' % MAX_LINE)
        except ConnectionError:
            pass  # the other side left; there is nobody to tell
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_unix_server(serve, path, limit=MAX_LINE)

    def close() -> None:
        server.close()
        for writer in tuple(writers):
            writer.close()

    stack.callback(close)
    return str(path)
