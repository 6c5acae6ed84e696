"""GPUs of a real gateway process, by a libnvidia-ml.so.1 built here whose state is files: cap, kill, loss, return."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness import Site, a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE
from test_orders_wire import skerry
from waiting import LIMIT_S

from gateway import exit_codes
from gateway.api.protocol import Published

# two GPUs; `limitN`: the power limit that is set, mW; `goneN` there: the GPU is lost; `mismatch` there: no driver
STUB = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef long dev; typedef struct { unsigned gpu, memory; } rates;
static void place(char *path, const char *name, long n) {
  sprintf(path, n < 0 ? "%s/%s" : "%s/%s%ld", getenv("NVML_STUB"), name, n); }
static int is(const char *name, long n) { char path[999]; place(path, name, n); return access(path, F_OK) == 0; }
static int bad(dev d) { return is("mismatch", -1) ? 18 : is("gone", d) ? 15 : 0; }
int nvmlInitWithFlags(unsigned f) { return is("mismatch", -1) ? 18 : 0; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return is("mismatch", -1) ? 18 : 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, dev *d) { *d = i; return bad(i); }
int nvmlDeviceGetUUID(dev d, char *s, unsigned n) { sprintf(s, "GPU-%ldaaaaaaa-1", d); return bad(d); }
int nvmlDeviceGetName(dev d, char *s, unsigned n) { strncpy(s, "Stub 80GB", n); return bad(d); }
int nvmlDeviceGetPowerManagementLimit(dev d, unsigned *mw) {
  char path[999]; place(path, "limit", d); FILE *f = fopen(path, "r");
  if (!f || fscanf(f, "%u", mw) != 1) *mw = 700000; if (f) fclose(f); return bad(d); }
int nvmlDeviceSetPowerManagementLimit(dev d, unsigned mw) {
  char path[999], made[999]; place(path, "limit", d); place(made, "made", d);
  if (bad(d)) return bad(d); FILE *f = fopen(made, "w"); fprintf(f, "%u", mw); fclose(f); return rename(made, path); }
int nvmlDeviceGetPowerManagementDefaultLimit(dev d, unsigned *mw) { *mw = 700000; return bad(d); }
int nvmlDeviceGetPowerManagementLimitConstraints(dev d, unsigned *a, unsigned *b) {
  *a = 200000; *b = 700000; return bad(d); }
int nvmlDeviceGetPowerUsage(dev d, unsigned *mw) { return nvmlDeviceGetPowerManagementLimit(d, mw); }
int nvmlDeviceGetUtilizationRates(dev d, rates *r) { r->gpu = 90; r->memory = 1; return bad(d); }
const char *nvmlErrorString(int r) { return r == 15 ? "GPU is lost" : "stub error"; }
"""
NODE = '[[node]]\nid = "here"\nsource = "nvml"\ncap_w = 600\nidle_w = 100\nfull_w = 100\n'


class Gpus:
    """The two GPUs, as the stub library has them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for n in range(2):
            (directory / f"limit{n}").write_text("500000")

    @property
    def limits(self) -> list[float]:
        """W."""
        return [int((self.directory / f"limit{n}").read_text()) / 1000 for n in range(2)]

    def are(self, name: str, so: bool = True) -> None:
        (self.directory / name).touch() if so else (self.directory / name).unlink()

    async def come_to(self, *limits: float) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.limits != list(limits):  # noqa: ASYNC110  another process writes the files
                await asyncio.sleep(0.02)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The directory of the stub."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to build the NVML stub")
    (tmp_path / "stub.c").write_text(STUB)
    made = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", made, tmp_path / "stub.c"], check=True)
    return tmp_path


@pytest.fixture
async def wire(tmp_path: Path, library: Path) -> AsyncIterator[tuple[Site, Gpus]]:
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    (tmp_path / "gpus").mkdir()
    async with a_site(tmp_path, site_text(twin=FLAT, extra=NODE)) as site:
        stub = {"LD_LIBRARY_PATH": str(library), "NVML_STUB": str(tmp_path / "gpus")}
        site.environment |= stub | {"STATE_DIRECTORY": str(site.state_dir)}
        await site.twin()
        yield site, Gpus(tmp_path / "gpus")


def node_w(published: Published) -> float | None:
    return next(n.w.good for n in published.snapshot.nodes if n.id == "here")


def alarms(published: Published) -> set[str]:
    return {alarm.id for alarm in published.alarms}


async def test_a_cap_outlives_no_gateway_and_no_lost_gpu(wire: tuple[Site, Gpus]) -> None:
    site, gpus = wire
    gateway = await site.gateway()
    client = await site.client()
    await until(client, lambda s: node_w(s) == 1100 and s.decision.battery_w is not None)
    code, _, err = await skerry(site, "cap", "here", "700W", "--reason", "heat")
    assert code == exit_codes.OK, err
    await gpus.come_to(300, 300)
    assert json.loads((site.state_dir / "gpus.json").read_text())["original_mw"] == {
        "GPU-0aaaaaaa-1": 500_000,
        "GPU-1aaaaaaa-1": 500_000,
    }
    gateway.kill()
    await gateway.wait()
    gpus.are("gone1")
    await site.gateway()
    await gpus.come_to(500, 300)
    client = await site.client()
    lost = await until(client, lambda s: "gpus-missing:here" in alarms(s))
    here = next(n for n in lost.snapshot.nodes if n.id == "here")
    assert (here.w.value, here.gpus_total, len(here.gpus)) == (None, 2, 2)
    assert "GPU 1: GPU is lost" in here.note
    gpus.are("gone1", False)
    await gpus.come_to(500, 500)
    await until(client, lambda s: node_w(s) == 1100)
    gpus.are("mismatch")
    gone = await until(client, lambda s: node_w(s) is None)
    assert [n.gpus_total for n in gone.snapshot.nodes if n.id == "here"] == [2]
    gpus.are("mismatch", False)
    await until(client, lambda s: node_w(s) == 1100)
