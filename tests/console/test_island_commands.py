"""Drills and island commands on a gateway with devices in memory: record, full disk, stale console, alarms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from small_gateway import Running, running
from test_commands import fill_the_disk, rows

from console.link.client import GatewayClient, RequestFailed


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: sockets live in it."""
    with TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
async def there(place: Path) -> AsyncIterator[Running]:
    async with running(place, place / "s.sock") as gateway:
        yield gateway


@pytest.fixture
async def client(there: Running) -> AsyncIterator[GatewayClient]:
    made = await GatewayClient.connect(there.socket, 0)
    yield made
    await made.close()


async def test_a_drill_that_may_not_begin_is_answered_with_its_checks_and_on_record(
    there: Running, client: GatewayClient
) -> None:
    seen = there.gateway.clock.utc_s()
    answer = await client.request("drill.start", minutes=1, reason="rehearsal", seen_utc_s=seen)
    assert not answer["ok"]
    failed = {check["name"]: check["remedy"] for check in answer["checks"] if not check["ok"]}
    assert failed["switch control"] == "turn its key to remote"
    async with asyncio.timeout(5):  # the refusal is written behind the answer
        while len(found := [row for row in rows(there) if row.get("command") == "drill.start"]) < 2:
            await there.gateway.next_tick()
    intent, result = found
    assert (intent["kind"], intent["reason"]) == ("intent", "rehearsal")
    assert (result["of"], result["outcome"]) == (intent["seq"], "refused")


async def test_a_stale_console_or_no_reason_begins_nothing(there: Running, client: GatewayClient) -> None:
    seen = there.gateway.clock.utc_s()
    with pytest.raises(RequestFailed, match="stale console"):
        await client.request("drill.start", minutes=1, reason="rehearsal", seen_utc_s=seen - 60)
    for method in ("drill.start", "island.reset", "island.black_start"):
        with pytest.raises(RequestFailed, match=r"reason: .* needs a reason"):
            await client.request(method, minutes=1, reason=" ", seen_utc_s=seen)


async def test_with_a_full_disk_an_abort_reaches_the_tick_and_a_drill_does_not(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(there, monkeypatch)
    asked: list[str] = []
    ask = there.gateway.ask
    monkeypatch.setattr(there.gateway, "ask", lambda request: asked.append(request.kind) or ask(request))
    with pytest.raises(RequestFailed, match="audit: not on record, so not done"):  # noqa: PT012
        for _ in range(50):  # until the page that is there is full
            asked.clear()
            seen = there.gateway.clock.utc_s()
            await client.request("drill.start", minutes=1, reason="rehearsal " * 15, seen_utc_s=seen)
    assert asked == []
    answer = await client.request("drill.abort", reason="enough " * 25)
    assert asked == ["abort"]
    assert answer["text"] == "there is no drill and no black start to abort"


async def test_high_alarms_that_stand_are_a_check(there: Running, client: GatewayClient) -> None:
    there.devices.offline.add("grid")
    while not any(a.priority.value == "high" for a in there.gateway.alarms.active()):
        await there.gateway.next_tick()
    title = next(a.title for a in there.gateway.alarms.active() if a.priority.value == "high")
    seen = there.gateway.clock.utc_s()
    answer = await client.request("drill.start", minutes=1, reason="rehearsal", seen_utc_s=seen)
    (alarms,) = [check for check in answer["checks"] if check["name"] == "alarms"]
    assert not alarms["ok"]
    assert title in alarms["figure"]
