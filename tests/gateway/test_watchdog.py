"""The watchdog is fed by completed ticks and by nothing else: heard on the socket that systemd would listen on."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_gateway import Running, running
from waiting import LIMIT_S, until

from dispatch.planning.pipeline import PlanSource
from gateway import systemd
from gateway.systemd import Liveness, Systemd

FEED = b"WATCHDOG=1"


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end of the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(LIMIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def teller(manager: socket.socket) -> Iterator[Systemd]:
    """Our end of it."""
    with closing(Systemd()) as ours:
        yield ours


def heard(manager: socket.socket) -> list[bytes]:
    """What has been sent so far."""
    manager.setblocking(False)
    found = []
    try:
        while True:
            found.append(manager.recv(512))
    except BlockingIOError:
        return found
    finally:
        manager.settimeout(LIMIT_S)


async def fed(manager: socket.socket, times: int) -> None:
    """Wait until the watchdog has been fed so often from now on."""
    heard(manager)
    for _ in range(times):
        while await asyncio.to_thread(manager.recv, 512) != FEED:
            continue


def test_it_is_fed_once_a_second_whatever_the_rate(manager: socket.socket, teller: Systemd) -> None:
    now_s = 100.0
    alive = Liveness(teller, "Small", lambda: now_s)
    alive.after_tick(1)
    assert heard(manager) == [b"READY=1\nSTATUS=Small", FEED]
    for tick in range(2, 26):
        now_s += 0.125
        alive.after_tick(tick)
    assert heard(manager) == [FEED] * 3


def test_what_the_manager_did_not_take_is_sent_after_the_next_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY lost at a busy moment would have the start time out, and a good gateway killed."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with closing(Systemd()) as teller, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        alive = Liveness(teller, "Small", lambda: 100.0)
        alive.after_tick(1)
        manager.bind(str(tmp_path / "notify"))
        alive.after_tick(2)
        alive.after_tick(3)
        assert heard(manager) == [b"READY=1\nSTATUS=Small", FEED]


async def test_a_loop_that_does_not_complete_its_ticks_is_not_fed_for(
    tmp_path: Path, manager: socket.socket, teller: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop lives, consoles are answered; but the tick waits for ever."""
    monkeypatch.setattr(systemd, "FEED_S", 0.0)
    async with running(tmp_path, tmp_path / "s.sock", after_tick=(Liveness(teller, "Small").after_tick,)) as there:
        await fed(manager, 2)
        goes_on, read = hung_meter(there, monkeypatch)
        await asyncio.wait_for(read.wait(), LIMIT_S)
        heard(manager)  # the last one before it hung
        await asyncio.sleep(0.5)  # five ticks
        assert heard(manager) == []
        goes_on.set()
        await fed(manager, 2)


def hung_meter(there: Running, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the tick wait until the first event is set; the second is set once it waits."""
    goes_on, waits = asyncio.Event(), asyncio.Event()
    read = there.gateway.devices.read_grid_meter

    async def hangs() -> None:
        waits.set()
        await goes_on.wait()
        await read()

    monkeypatch.setattr(there.gateway.devices, "read_grid_meter", hangs)
    return goes_on, waits


async def test_a_tick_that_fails_is_not_fed_for(
    tmp_path: Path, manager: socket.socket, teller: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed is the last thing of a tick: what raises before it ends the gateway, unfed."""
    monkeypatch.setattr(systemd, "FEED_S", 0.0)
    wrong, failed = asyncio.Event(), asyncio.Event()

    def fails(ticks: int) -> None:
        if wrong.is_set():
            heard(manager)  # those of the ticks before
            failed.set()
            raise RuntimeError("a mistake of ours")

    after = (fails, Liveness(teller, "Small").after_tick)

    async def run() -> None:
        async with running(tmp_path, tmp_path / "s.sock", after_tick=after):
            await fed(manager, 2)
            wrong.set()
            await asyncio.wait_for(failed.wait(), LIMIT_S)

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        await run()
    assert heard(manager) == []


async def test_a_planner_that_hangs_does_not_stop_the_feeding(
    tmp_path: Path, manager: socket.socket, teller: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "FEED_S", 0.0)
    hung, released = threading.Event(), threading.Event()

    def hangs(*arguments: Any) -> Any:
        hung.set()
        released.wait(LIMIT_S)
        raise RuntimeError("released")

    monkeypatch.setattr(PlanSource, "make", hangs)
    alive = Liveness(teller, "Small")
    async with running(tmp_path, tmp_path / "s.sock", plan={"enabled": True}, after_tick=(alive.after_tick,)):
        await until(hung.is_set)
        await fed(manager, 5)
        assert not released.is_set()
        released.set()
