"""A gateway whose state directory is on a real file system that is full, without inodes, read-only, gone or hanging."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from harness import Site, a_site, site_text, until
from waiting import LIMIT_S

from benchmarks.reliability import tell
from gateway.api.client import GatewayClient
from gateway.api.protocol import Published
from storage.audit_reader import rows
from storage.reader import Archive

SIZE_MB, INODES, BALLAST_MB = 24, 64, 4
TICKS = 50  # 10 s at 5 Hz: how long each trouble lasts
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount(place, f"size={SIZE_MB}m,nr_inodes={INODES}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def mount(place: Path, options: str) -> None:
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode().strip()}")


@pytest.fixture
async def there(tmp_path: Path, disk: Path) -> AsyncIterator[tuple[Site, GatewayClient]]:
    async with gateway_on(tmp_path, disk) as found:
        yield found


@contextlib.asynccontextmanager
async def gateway_on(directory: Path, disk: Path) -> AsyncIterator[tuple[Site, GatewayClient]]:
    """A gateway that writes its records there."""
    extra = f"[storage]\nballast_mb = {BALLAST_MB}\nflush_s = 1\n"
    async with a_site(directory, site_text(extra=extra)) as site:
        await site.twin()
        await site.run("serve", str(site.path), "--twin", str(site.announce), "--state-dir", str(disk / "state"))
        client = await site.client()
        await until(client, lambda p: p.decision.battery_w is not None)
        await holds(lambda: len(list((disk / "state" / "ballast").iterdir())) == 8)
        yield site, client


async def holds(question: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            with contextlib.suppress(FileNotFoundError):
                if await asyncio.to_thread(question):
                    return
            await asyncio.sleep(0.1)


def alarms(state: Published) -> set[str]:
    return {alarm.id for alarm in state.alarms if alarm.detail is not None}


async def ticked(client: GatewayClient) -> Published:
    """The state some ticks later; none of them was late by a whole tick."""
    first = await until(client, lambda p: True)
    last = await until(client, lambda p: p.snapshot.seq >= first.snapshot.seq + TICKS)
    assert last.loop.overruns == first.loop.overruns, "a tick waited for the disk"
    return last


async def stop(client: GatewayClient) -> str:
    """What a stop says of being on record; it always stops."""
    return str((await client.request("stop", reason="test"))["not_durable"])


def space(disk: Path) -> Callable[[], None]:
    """All of it is taken; how to give it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:  # a buffer would be written once more when the file is closed
        for size in (1 << 16, 1 << 12):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    continue
    return filler.unlink


def inodes(disk: Path) -> Callable[[], None]:
    made = []
    with contextlib.suppress(OSError):
        for n in range(INODES + 1):
            (disk / f"filler{n}").touch()
            made.append(disk / f"filler{n}")
    return lambda: [path.unlink() for path in made].clear()


@pytest.mark.parametrize("take", [space, inodes])
async def test_acts_and_memory_get_on_a_full_disk(
    there: tuple[Site, GatewayClient], disk: Path, take: Callable[[Path], Callable[[], None]]
) -> None:
    _, client = there
    give_back = take(disk)
    assert await stop(client) == "", "the ballast is for this"
    saw = await until(client, lambda p: "disk-full" in alarms(p))
    assert "records-lost" not in alarms(saw)
    await ticked(client)
    assert await stop(client) == ""
    assert (await client.request("events", limit=20, text="disk is full")) != []
    give_back()
    await until(client, lambda p: "disk-full" not in alarms(p))
    assert len(list((disk / "state" / "ballast").iterdir())) == 8
    told = [event["text"] for event in await client.request("events", limit=50)]
    assert any("room again" in text and "nothing was lost" in text for text in told), told
    acts = [row for row in rows(disk / "state", 100) if row.get("command") == "stop"]
    assert all("durable" not in row for row in acts)
    tell("faults of the disk tried", 1)


async def test_samples_of_the_time_on_a_full_disk_are_written_afterwards(
    there: tuple[Site, GatewayClient], disk: Path
) -> None:
    _, client = there
    give_back = space(disk)
    begin = await until(client, lambda p: "disk-full" in alarms(p))
    last = await ticked(client)
    give_back()
    await until(client, lambda p: "disk-full" not in alarms(p))
    await holds(lambda: (Archive(disk / "state").ends_utc_s() or 0.0) > last.snapshot.utc_s)
    asked = {"signals": ["grid.w"], "start_utc_s": begin.snapshot.utc_s, "end_utc_s": last.snapshot.utc_s, "step_s": 1}
    chart = (await client.request("history", **asked))["signals"]["grid.w"]
    assert None not in chart[:-1], chart
    tell("faults of the disk tried", 1)


@pytest.mark.parametrize("options", ["ro", "size=4k,nr_inodes=1"])
async def test_control_goes_on_without_a_disk(there: tuple[Site, GatewayClient], disk: Path, options: str) -> None:
    """Read-only, and gone: another file system lies over it, in which no directory can be made."""
    _, client = there
    await asyncio.to_thread(mount, disk, options)
    await until(client, lambda p: "records-lost" in alarms(p))
    await ticked(client)
    assert await stop(client) != ""
    await asyncio.to_thread(subprocess.run, ["umount", disk], check=True)
    await durable(client)
    async with asyncio.timeout(LIMIT_S):
        await again(client)
    await holds(lambda: (disk / "state" / "telemetry.db").is_file())
    tell("faults of the disk tried", 1)


async def durable(client: GatewayClient) -> None:
    """Wait until acts are on record again."""
    async with asyncio.timeout(LIMIT_S):
        while await stop(client):  # noqa: ASYNC110  the gateway has no event for it
            await asyncio.sleep(0.2)


async def again(client: GatewayClient) -> None:
    """Wait until the gateway says that it writes its records again."""
    told: list[str] = []
    while not any("in use again" in text or "written again" in text for text in told):
        await asyncio.sleep(0.2)
        told = [event["text"] for event in await client.request("events", limit=50)]


@pytest.fixture
def frozen_later(tmp_path: Path) -> Iterator[Path]:
    """A file system that can be made to hang: every write waits until it is thawed."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", image], capture_output=True, check=False)
    if made.returncode or subprocess.run(["mount", "-o", "loop", image, place], check=False).returncode:
        pytest.skip("no file system can be made in a file here")
    yield place
    subprocess.run(["fsfreeze", "-u", place], capture_output=True, check=False)
    subprocess.run(["umount", "-l", place], check=True)


async def test_control_goes_on_while_the_disk_hangs(tmp_path: Path, frozen_later: Path) -> None:
    async with gateway_on(tmp_path, frozen_later) as (_, client):
        await asyncio.to_thread(subprocess.run, ["fsfreeze", "-f", frozen_later], check=True)
        try:
            assert await stop(client) != "", "it stops all the same"
            await ticked(client)
            await until(client, lambda p: "records-lost" in alarms(p))
        finally:
            await asyncio.to_thread(subprocess.run, ["fsfreeze", "-u", frozen_later], check=True)
        await durable(client)
    tell("faults of the disk tried", 1)
