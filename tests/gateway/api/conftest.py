"""A published state to send about, and a server on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dispatch.model.decision import Decision, Mode
from dispatch.model.equipment import Meter
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import reading
from dispatch.model.reasons import Reason, RuleId
from dispatch.model.snapshot import Snapshot
from gateway.api.peer import Peer
from gateway.api.protocol import LoopStats, Published, Request, TariffNow, Welcome
from gateway.api.server import LinkServer
from gateway.errors import CommandRefused


@pytest.fixture
def published() -> Callable[[int], Published]:
    """Makes the state of tick n."""

    def make(seq: int) -> Published:
        utc_s = 1_758_006_000.0 + seq
        return Published(
            snapshot=Snapshot(seq, utc_s, float(seq), Meter("grid", reading(1000.0 + seq))),
            decision=Decision(
                seq, utc_s, Mode.RULES, IslandState.GRID_TIED, (), None, None, None, RuleId.IDLE, Reason("idle.idle")
            ),
            alarms=(),
            interval=Interval(utc_s, 900.0, 10.0, 0.0, 32_000.0, 33_000.0),
            month_peak_w=20_000.0,
            tariff=TariffNow(),
            loop=LoopStats(),
        )

    return make


@pytest.fixture
def welcome() -> Callable[[Peer], Welcome]:
    """The welcome of a gateway."""

    def make(peer: Peer) -> Welcome:
        return Welcome(1, "Test site", "Europe/Berlin", peer.user, 42, 0.0, 1.0, True, 5.0)

    return make


async def answer(peer: Peer, request: Request) -> Any:
    """The requests that the tests make."""
    if request.method == "echo":
        return request.params
    if request.method == "who":
        return [peer.pid, peer.uid, peer.gid, peer.user]
    if request.method == "big":
        return "x" * (1 << 21)
    if request.method == "broken":
        raise RuntimeError("the shelf fell down")
    raise CommandRefused(f"unknown method {request.method!r}")


@pytest_asyncio.fixture
async def server(tmp_path: Path, welcome: Callable[[Peer], Welcome]) -> AsyncIterator[LinkServer]:
    """A server that answers `answer`, with a short write deadline."""
    link = LinkServer(tmp_path / "s.sock", welcome, answer, write_timeout_s=0.3)
    await link.start()
    yield link
    await link.close()
