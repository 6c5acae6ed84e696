"""Drills and island commands on a gateway with devices in memory: record, full disk, stale console, alarms."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_gateway import Running, running
from test_order_commands import fill_the_disk, rows
from waiting import LIMIT_S

from console.cli.island import report_lines
from console.display import islanding_text
from dispatch.model.islanding import Check, DrillReport
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import alarm_text, words
from gateway.api.client import GatewayClient
from gateway.drill_state import report_of_killed
from gateway.errors import RequestFailed


def checks_of(answer: dict[str, Any]) -> list[Check]:
    return msgspec.convert(answer["checks"], list[Check])


async def test_a_drill_that_may_not_begin_is_answered_with_its_checks_and_on_record(
    there: Running, client: GatewayClient
) -> None:
    seen = there.gateway.clock.utc_s()
    answer = await client.request("drill.start", minutes=1, reason="rehearsal", seen_utc_s=seen)
    assert not answer["ok"]
    failed = {words(check.name): words(check.remedy) for check in checks_of(answer) if not check.ok}
    assert failed["switch control"] == "turn its key to remote"
    async with asyncio.timeout(LIMIT_S):  # the refusal is written behind the answer
        while len(found := [row for row in rows(there) if row.get("command") == "drill.start"]) < 2:
            await there.gateway.loop.next_tick()
    intent, result = found
    assert (intent["kind"], intent["reason"]) == ("intent", "rehearsal")
    assert (result["of"], result["outcome"]) == (intent["seq"], "refused")


async def test_a_stale_console_or_no_reason_begins_nothing(there: Running, client: GatewayClient) -> None:
    seen = there.gateway.clock.utc_s()
    with pytest.raises(RequestFailed, match="stale console"):
        await client.request("drill.start", minutes=1, reason="rehearsal", seen_utc_s=seen - 60)
    for method in ("drill.start", "island.reset", "island.black_start"):
        with pytest.raises(RequestFailed, match=r"reason: .* needs a reason"):
            await client.request(method, minutes=1, reason=" x ", seen_utc_s=seen)  # the rule of orders: 3 characters


async def test_with_a_full_disk_an_abort_reaches_the_tick_and_a_drill_does_not(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(there, monkeypatch)
    asked: list[str] = []
    ask = there.gateway.loop.submit
    monkeypatch.setattr(there.gateway.loop, "submit", lambda request: asked.append(request.kind) or ask(request))
    line = ""
    for _ in range(40):  # first whatever room is left in the last page
        asked.clear()
        seen = there.gateway.clock.utc_s()
        try:
            await client.request("drill.start", minutes=1, reason="rehearsal " * 15, seen_utc_s=seen)
        except RequestFailed as error:
            line = str(error)
            break
    assert line.startswith("audit: not on record, so not done")
    assert asked == []
    answer = await client.request("drill.abort", reason="enough " * 25)
    assert asked == ["abort"]
    assert answer["text"] == "there is no drill and no black start to abort"


async def test_high_alarms_that_stand_are_a_check(there: Running, client: GatewayClient) -> None:
    there.devices.offline.add("grid")
    while not any(a.priority.value == "high" for a in there.gateway.alarms.active()):
        await there.gateway.loop.next_tick()
    title = next(alarm_text(a.id).title for a in there.gateway.alarms.active() if a.priority.value == "high")
    seen = there.gateway.clock.utc_s()
    answer = await client.request("drill.start", minutes=1, reason="rehearsal", seen_utc_s=seen)
    (alarms,) = [check for check in checks_of(answer) if check.name == Reason("check.alarms")]
    assert not alarms.ok
    assert title in words(alarms.figure)


async def test_a_drill_by_the_schedule_is_on_record_as_nobodys_and_checked_like_everybodys(there: Running) -> None:
    reply = await there.gateway.island_commands.start_scheduled(5.0, "schedule: weekly, Tuesday 10:00")
    assert not reply.ok
    assert "no drill: " in words(reply.reason)
    async with asyncio.timeout(LIMIT_S):
        while len(found := [row for row in rows(there) if row.get("who") == "schedule"]) < 2:
            await there.gateway.loop.next_tick()
    intent, result = found
    assert (intent["command"], intent["reason"]) == ("drill.start", "schedule: weekly, Tuesday 10:00")
    assert (result["of"], result["outcome"]) == (intent["seq"], "refused")


async def test_with_a_full_disk_nothing_begins_by_itself(there: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(there, monkeypatch)
    for _ in range(40):  # first whatever room is left in the last page
        reply = await there.gateway.island_commands.start_scheduled(5.0, "schedule " * 20)
        if "not on record" in words(reply.reason):
            break
    assert words(reply.reason).startswith("audit: not on record, so not done")


async def test_what_no_tick_has_heard_in_time_is_taken_back_and_an_abort_is_not(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.island_commands.TICK_WAIT_S", 0.05)
    seen = there.gateway.clock.utc_s()
    heard: list[str] = []
    step = there.gateway.controller.step
    monkeypatch.setattr(
        there.gateway.controller,
        "step",
        lambda *given, **more: heard.extend(r.kind for r in given[2]) or step(*given, **more),
    )
    with monkeypatch.context() as stuck:
        stuck.setattr(there.gateway.loop, "tick", lambda: None)
        answer = await client.request("drill.start", minutes=1, reason="rehearsal", seen_utc_s=seen)
        assert "no tick within 0.05 s; it is withdrawn, nothing was begun" in answer["text"]
        answer = await client.request("drill.abort", reason="enough")
        assert "it is asked all the same" in answer["text"]
    await there.gateway.loop.next_tick()
    assert heard == ["abort"]


async def test_what_works_beside_the_tick_ends_with_it_also_when_it_forgets_a_cancellation(place: Path) -> None:
    """As `wait_for` does when its answer comes in the moment of the cancellation."""
    forgot = []

    async def forgetful() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if forgot:
                    raise
                forgot.append(True)

    async with asyncio.timeout(LIMIT_S), running(place, place / "t.sock", beside=[forgetful]):
        pass
    assert forgot


def test_the_report_of_a_killed_drill_says_not_known_where_nobody_knows() -> None:
    """Found: it stated 0 s islanded and 0.00 kWh."""
    body = {"t": "2025-09-16T10:00:00Z", "who": "ann", "reason": "monthly", "minutes": 10, "text": "accepted"}
    report = report_of_killed(body)
    told = "\n".join(report_lines(report, None))
    assert "Islanded  not known; transfer gap not known" in told
    assert "Battery   not known" in told
    shown = [text for text, _ in islanding_text.drill_report_lines(report, "UTC")]
    assert "islanded not known, transfer gap not known" in shown
    assert any(line.endswith("battery not known") for line in shown)
    assert msgspec.json.decode(msgspec.json.encode(report), type=DrillReport) == report
