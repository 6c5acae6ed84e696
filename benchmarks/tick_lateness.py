"""Whether load makes the ticks late: quiet and loaded phases of one run in turn, at 10 Hz, the highest rate there is.

    hostile   500 hostile clients (benchmarks/hostile_clients.py)
    full      10 consoles, one of which never reads, on a full disk (a tmpfs, which takes root)

Beside them runs a process that does nothing but sleep to its next due time, at the gateway's priority: what no program
there can better. 20 000 ticks of each kind of phase take 67 minutes for each load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import SKERRY, Plant, running
from benchmarks.ticks import RATE_HZ, never_read
from gateway.api.client import GatewayClient

PHASE = 500  # ticks
SETTLE_S = 5.0  # after a change of phase, not counted
MOST = 1.5
READING = 9
BARE = f"""
import select, sys, time
due = time.monotonic()
while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
    print(time.monotonic(), 1000 * (time.monotonic() - due), flush=True)
    due += 1 / {RATE_HZ}
"""

Load = Callable[[Plant, Path], contextlib.AbstractContextManager[None]]
Span = tuple[float, float]  # monotonic, s


@contextlib.contextmanager
def hostile(plant: Plant, state: Path) -> Iterator[None]:
    """500 clients that mean harm."""
    command = [sys.executable, "-m", "benchmarks.hostile_clients", str(plant.socket_path())]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as clients:
        try:
            yield
        finally:
            clients.communicate()


@contextlib.contextmanager
def full(plant: Plant, state: Path) -> Iterator[None]:
    """Consoles, and no room for a byte on the disk."""
    over = threading.Event()
    consoles = [threading.Thread(target=never_read, args=(plant.socket_path(), over))]
    consoles += [threading.Thread(target=_reads, args=(plant.socket_path(), over)) for _ in range(READING)]
    for console in consoles:
        console.start()
    filler = state / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()
        over.set()
        for console in consoles:
            console.join()


def _reads(path: Path, over: threading.Event) -> None:
    """One console."""

    async def read() -> None:
        client = await GatewayClient.connect(path, rate_hz=1.0)
        async for _ in client.messages():
            if over.is_set():
                break
        await client.close()

    asyncio.run(read())


LOADS: dict[str, Load] = {"hostile": hostile, "full": full}


@contextlib.contextmanager
def small_disk(megabytes: int = 64) -> Iterator[Path]:
    """A file system of its own. Raises CalledProcessError where that may not be mounted."""
    with tempfile.TemporaryDirectory(prefix="skb") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def play(name: str, ticks: int) -> list[Figure]:
    """One run with one load."""
    changes = {"gateway": {"rate_hz": RATE_HZ}, "io": {"deadline_s": 0.04}}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skb")))
        state = stack.enter_context(small_disk()) if name == "full" else folder
        ticking = (SKERRY[0], "-m", "benchmarks.ticking_gateway", str(folder / "ticks"))
        plant = stack.enter_context(running(changes, command=ticking, environment={"XDG_STATE_HOME": str(state)}))
        bare = stack.enter_context(_bare_timer(plant.gateway.nice(), folder / "bare"))
        quiet: list[Span] = []
        loaded: list[Span] = []
        phase_s = min(PHASE, ticks) / RATE_HZ
        for _ in range(max(1, round(ticks / PHASE))):
            quiet.append(_phase(phase_s))
            with LOADS[name](plant, state):
                loaded.append(_phase(phase_s))
        bare.communicate()
        late = {what: _late(folder / what) for what in ("ticks", "bare")}
    found = {
        "quiet": _within(late["ticks"], quiet),
        "loaded": _within(late["ticks"], loaded),
        "bare": _within(late["bare"], quiet),
    }
    p999 = {what: quantile(found[what], 0.999) for what in found}
    return [
        Figure(
            f"{name}: ticks in quiet, in loaded phases", min(len(found["quiet"]), len(found["loaded"])), "ticks each"
        ),
        Figure(f"{name}: bare timer, quiet, p99.9", p999["bare"], "ms"),
        Figure(f"{name}: ticks, quiet, p99.9", p999["quiet"], "ms", goal=MOST * p999["bare"]),
        Figure(f"{name}: ticks, loaded, p99.9", p999["loaded"], "ms", goal=MOST * p999["quiet"]),
        Figure(f"{name}: ticks, loaded, worst", max(found["loaded"]), "ms"),
    ]


def _phase(seconds: float) -> Span:
    """Let a phase pass; when it counted."""
    time.sleep(SETTLE_S)
    began_s = time.monotonic()
    time.sleep(seconds)
    return began_s, time.monotonic()


def _late(file: Path) -> list[tuple[float, float]]:
    """(monotonic s, ms late) of each line that is whole."""
    lines = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
    return [(float(line[0]), float(line[1])) for line in lines if len(line) == 2]


def _within(late: list[tuple[float, float]], spans: list[Span]) -> list[float]:
    return [ms for at_s, ms in late if any(begin <= at_s < end for begin, end in spans)]


@contextlib.contextmanager
def _bare_timer(priority: int, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = ["nice", "-n", str(priority), sys.executable, "-c", BARE]
    with out.open("wb") as file, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file) as timer:
        yield timer


def measure(ticks: int = 20_000, load: str = "") -> list[Figure]:
    """Both loads, or one."""
    if not load and shutil.which("mount") is None:
        print("without mount the disk cannot be filled: the load 'hostile' only", file=sys.stderr)
        load = "hostile"
    return [figure for name in ([load] if load else LOADS) for figure in play(name, ticks)]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--ticks", type=int, default=20_000, help="in quiet and in loaded phases each (20 000)")
    parser.add_argument("--load", choices=sorted(LOADS), default="", help="this one only")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
