"""A node by Debian's own prometheus-node-exporter, whose RAPL counters are files of the test."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from waiting import until_done

from dispatch.model.equipment import Node
from drivers.config import IoConfig
from drivers.devices import make_drivers
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.exporter_node import ExporterNode
from drivers.nodes.metrics import pattern_of

PROGRAM = shutil.which(os.environ.get("SKERRY_NODE_EXPORTER", "prometheus-node-exporter"))
RAPL = "class/powercap/intel-rapl:0"


class Exporter:
    """One that runs, and the directory that it takes for /sys."""

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        zone = sysfs / RAPL
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
        self.joules(1000.0)
        assert PROGRAM is not None
        address = f"--web.listen-address=127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [PROGRAM, address, f"--path.sysfs={sysfs}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def joules(self, joules: float) -> None:
        """What its counter of the CPU's energy says from now on."""
        (self.sysfs / RAPL / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    if PROGRAM is None:
        pytest.skip("no node_exporter: apt-get install --no-install-recommends prometheus-node-exporter")
    running = Exporter(tmp_path / "sys")
    yield running
    running.process.terminate()
    running.process.wait(10)


@pytest.fixture
async def driver(exporter: Exporter) -> AsyncIterator[ExporterNode]:
    config = NodeDevice(
        id="here", source="exporters", exporters=(f"http://127.0.0.1:{exporter.port}/metrics",), deadline_s=10
    )
    (made,) = make_drivers([], [], [], [], [config], IoConfig(), lambda *_: ("", 0, 0))
    assert isinstance(made, ExporterNode)
    yield made
    await made.close()


async def read(driver: ExporterNode) -> Node:
    return await until_done(driver.read, DeviceError)


async def test_its_host_is_read_and_its_power_is_that_of_the_counter(exporter: Exporter, driver: ExporterNode) -> None:
    first = await read(driver)
    assert 0 < (first.memory_pct.good or 0) < 100
    assert first.w.value is None
    began_s = time.monotonic()
    await asyncio.sleep(1.0)
    exporter.joules(1200.0)
    node = await read(driver)
    passed_s = time.monotonic() - began_s
    assert node.source == "RAPL"
    assert node.w.good == pytest.approx(200.0 / passed_s, rel=0.2)
    assert node.cpu_pct.good is not None
    exporter.joules(5.0)  # it begins anew
    await asyncio.sleep(0.6)
    assert (await read(driver)).w.good == node.w.good


async def test_it_is_asked_for_the_wanted_collectors_only(exporter: Exporter, driver: ExporterNode) -> None:
    """The page without the others has everything that is read, and is a fraction of the whole."""
    await read(driver)
    (page,) = driver._pages
    whole, wanted = (await page.fetcher.get()).body, (await page.fetcher.get(page._query)).body
    assert len(wanted) < len(whole) / 2
    names = [{s.name for s in pattern_of("node_exporter").samples(body.decode())} for body in (whole, wanted)]
    assert names[0] == names[1]
    assert {"node_uname_info", "node_rapl_package_joules_total", "node_cpu_seconds_total"} <= names[1]


async def test_one_that_was_ended_is_lost_and_found_again(exporter: Exporter, driver: ExporterNode) -> None:
    await read(driver)
    exporter.process.terminate()
    exporter.process.wait(10)
    with pytest.raises(DeviceError, match=f"here at http://127.0.0.1:{exporter.port}/metrics: "):
        await driver.read()
