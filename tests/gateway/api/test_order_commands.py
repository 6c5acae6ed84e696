"""Commands on a gateway with devices in memory: effect, refusals, record, what runs when the disk is full."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_gateway import Devices, Running, SetClock, as_words, running
from waiting import LIMIT_S

from dispatch.model.decision import Mode
from dispatch.model.reasons import Reason
from dispatch.orders.book import OrderBook
from dispatch.wording.catalogue import words
from gateway.api.client import GatewayClient
from gateway.api.command_log import Command
from gateway.api.peer import Peer, user_name
from gateway.errors import RequestFailed
from storage import audit_reader
from storage.audit import AuditLog
from storage.audit_file import AuditFile
from storage.verify import verify

ME = user_name(os.getuid())
WHY = {"reason": "feeder test"}


async def order(client: GatewayClient, there: Running, kind: str, value: float = 0.0, **more: Any) -> Any:
    """Give an order as a live console does."""
    params = {"kind": kind, "value": value, "seen_utc_s": there.gateway.clock.utc_s(), **WHY, **more}
    return await client.request("order.set", **params)


async def refused(client: GatewayClient, there: Running, kind: str, value: float = 0.0, **more: Any) -> str:
    """The line with which an order is refused."""
    before = there.gateway.orders.active
    with pytest.raises(RequestFailed) as caught:
        await order(client, there, kind, value, **more)
    assert caught.value.code == "refused"
    assert there.gateway.orders.active == before
    return str(caught.value)


def rows(there: Running) -> list[dict[str, Any]]:
    return audit_reader.rows(there.directory, 500)


def fill_the_disk(there: Running, full: pytest.MonkeyPatch) -> None:
    """No page can be added any more, whoever opens the file: SQLITE_FULL, as on a full disk."""
    with closing(sqlite3.connect(there.directory / "audit.db")) as con:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = con.execute("PRAGMA page_count").fetchone()[0]
    opened = AuditFile._open

    def limited(audit: AuditFile) -> sqlite3.Connection:
        con = opened(audit)
        con.execute(f"PRAGMA max_page_count = {pages}")
        return con

    full.setattr(AuditFile, "_open", limited)
    con = there.audit._file._con
    assert con is not None
    con.execute(f"PRAGMA max_page_count = {pages}")


# ── effect ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_order_takes_effect_with_the_next_tick_and_everybody_sees_whose_it_is(
    there: Running, client: GatewayClient
) -> None:
    answer = await order(client, there, "setpoint", 20_000.0, for_s=600.0)
    published = there.gateway.loop.published
    assert published is not None
    assert answer["not_durable"] == ""
    assert as_words(answer["effect"]).startswith("discharge 20.0 kW — manual: order")
    assert published.decision.mode is Mode.MANUAL
    assert [(o.id, o.who, o.value, o.reason) for o in published.orders] == [
        (answer["order"]["id"], ME, 20_000.0, "feeder test")
    ]
    assert 590 < published.orders[0].left_s(published.snapshot.mono_s) <= 600
    assert there.devices.pcs_w == 20_000.0
    listed = await client.request("order.list")
    assert listed[0]["left_s"] == pytest.approx(600, abs=5)
    intent, result = rows(there)[-2:]
    assert (intent["kind"], intent["who"], intent["command"]) == ("intent", ME, "order.set setpoint")
    assert (result["kind"], result["of"], result["outcome"]) == ("result", intent["seq"], "in force")
    decided = msgspec.convert(result["effect"], Reason)
    assert (decided.code, decided.figures["battery_w"]) == ("decision.setpoint", 20_000.0)
    assert result["text"].endswith(f"; now {words(decided)}"), "the words that were shown stand beside the figures"


async def test_effect_within_one_tick(there: Running, client: GatewayClient) -> None:
    """From the moment the order is in force to the device: less than a tick and the grace that polling has."""
    spans = []
    for n in range(8):
        given: list[float] = []
        put = there.gateway.orders.put

        def stamped(new: Any, put: Any = put, given: list[float] = given) -> Any:
            given.append(asyncio.get_running_loop().time())
            return put(new)

        there.gateway.orders.put = stamped  # type: ignore[method-assign]
        standing = there.gateway.orders.standing("battery")
        value = 1_000.0 * (n + 1)
        await order(client, there, "setpoint", value, replace=standing.id if standing else None)
        there.gateway.orders.put = put  # type: ignore[method-assign]
        wrote = [at_s for at_s, w in there.devices.writes if abs(w - value) < 1]
        spans.append(wrote[0] - given[0])
    assert all(span >= 0 for span in spans)
    assert sorted(spans)[len(spans) // 2] <= 0.1 + 0.02
    assert max(spans) <= 0.3  # a tick that is late is the machine's, not the order's


async def test_a_second_order_shows_the_first(there: Running, client: GatewayClient) -> None:
    first = (await order(client, there, "setpoint", 20_000.0))["order"]["id"]
    line = await refused(client, there, "import-target", 10_000.0)
    assert f"one order at a time: {ME} holds battery by order" in line
    assert re.search(rf"discharge 20\.0 kW, \d+ min left \(feeder test\); end it first, or .* --replace {first}", line)
    assert "one order at a time" in await refused(client, there, "import-target", 10_000.0, replace="o999")
    answer = await order(client, there, "import-target", 10_000.0, replace=first)
    assert answer["replaced"]["id"] == first
    assert there.devices.pcs_w == pytest.approx(10_000, abs=300)


async def test_orders_end_by_hand_and_by_the_monotonic_clock(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (await order(client, there, "setpoint", 20_000.0))["order"]["id"]
    answer = await client.request("order.end", id=given, reason="test is over")
    assert answer["ended"] == [given]
    assert "manual" not in as_words(answer["effect"]).split(":")[0]
    with pytest.raises(RequestFailed, match=f"no order '{given}' is in force: there is none"):
        await client.request("order.end", id=given)
    given = (await order(client, there, "setpoint", 20_000.0, for_s=0.8))["order"]["id"]
    wall = there.gateway.clock.utc_s
    monkeypatch.setattr(there.gateway.clock, "utc_s", lambda: wall() - 7200)  # the wall clock steps back two hours
    async with asyncio.timeout(LIMIT_S):
        while there.gateway.orders.active:
            await there.gateway.loop.next_tick()
    assert any(f"order {given} of {ME} is over" in e.text and "its time is up" in e.text for e in there.events)
    await there.gateway.loop.next_tick()


async def test_orders_do_not_outlive_the_gateway(place: Path) -> None:
    async with running(place, place / "s.sock") as there:
        client = await GatewayClient.connect(there.socket, 0)
        given = (await order(client, there, "setpoint", 20_000.0))["order"]["id"]
        capped = (await order(client, there, "node-cap", 2_000.0, target="gpu-01"))["order"]["id"]
        await client.close()
        there.gateway.orders._book = OrderBook()  # as after kill -9: nothing ends them
    async with running(place, place / "s.sock") as there:
        assert there.gateway.orders.active == ()
        dropped = [e.text for e in there.events if "dropped, the gateway was restarted" in e.text]
        assert [text.split()[1] for text in dropped] == [given, capped]
        published = await there.gateway.loop.next_tick()
        (alarm,) = [alarm for alarm in published.alarms if alarm.id == "orders-dropped"]
        assert f"{given} of {ME}" in words(alarm.detail)
        assert f"{capped} of {ME}" in words(alarm.detail)
        assert there.devices.caps == [None], "the node is not left capped"
        client = await GatewayClient.connect(there.socket, 0)
        off = {"id": "orders-dropped", "for_s": 3600.0, "reason": "is being looked into"}
        await client.request("alarm.shelve", **off, seen_utc_s=there.clock.utc_s())
        await client.close()
    async with running(place, place / "s.sock") as there:
        published = await there.gateway.loop.next_tick()
        assert "orders-dropped" not in {alarm.id for alarm in published.alarms}
        (kept,) = published.shelved
        assert (kept.suppression.id, kept.suppression.who) == ("orders-dropped", ME), "it outlasts a restart"
        client = await GatewayClient.connect(there.socket, 0)
        await client.request("alarm.return", id="orders-dropped")
        assert not [e for e in there.events if e.kind == "command"], "it is said once"
        published = await there.gateway.loop.next_tick()
        (alarm,) = [alarm for alarm in published.alarms if alarm.id == "orders-dropped"]
        assert f"{given} of {ME}" in words(alarm.detail), "nobody has acknowledged it yet"
        await client.request("alarm.acknowledge", id="orders-dropped")
        await client.close()
        assert there.gateway.orders.dropped == ""
    async with running(place, place / "s.sock") as there:
        published = await there.gateway.loop.next_tick()
        assert not [alarm for alarm in published.alarms if alarm.id == "orders-dropped"]
    assert verify(place).ok


async def test_an_order_that_an_orderly_restart_ends_is_said_to_whoever_watches_then(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only in the log: until it is acknowledged. One whose time would have been up anyway is not said."""
    async with running(place, place / "s.sock") as there:
        client = await GatewayClient.connect(there.socket, 0)
        given = (await order(client, there, "setpoint", 20_000.0))["order"]["id"]
        await order(client, there, "node-cap", 2_000.0, target="gpu-01", for_s=60)
        await client.close()
    monkeypatch.setattr(SetClock, "ahead_s", 90.0)  # the second order's time is up by then
    async with running(place, place / "s.sock") as there:
        published = await there.gateway.loop.next_tick()
        (alarm,) = [alarm for alarm in published.alarms if alarm.id == "orders-dropped"]
        assert words(alarm.detail).startswith(f"{given} of {ME}, ")
        assert "gpu-01" not in words(alarm.detail)


async def test_stop_withdraws_everything_but_a_disabled_device(there: Running, client: GatewayClient) -> None:
    await order(client, there, "reserve-level", 50.0)
    await order(client, there, "node-cap", 2_000.0, target="gpu-01")
    await order(client, there, "disable", target="pcs1")
    await order(client, there, "setpoint", 20_000.0)
    assert there.devices.pcs_w == 0.0, "a disabled PCS stays at 0 whoever orders what"
    answer = await client.request("stop")
    assert {o.kind.value for o in there.gateway.orders.active} == {"disable", "hold"}
    assert answer["for_s"] == 3600
    await there.gateway.loop.next_tick()
    assert there.devices.caps == [2_000.0, None]


async def test_preview_orders_nothing(place: Path) -> None:
    almost = Devices(soc_pct=16.1)  # reserve is 15.6 %: discharge fades
    async with running(place, place / "s.sock", devices=almost) as there:
        client = await GatewayClient.connect(there.socket, 0)
        await _preview(there, client)
        await client.close()


async def _preview(there: Running, client: GatewayClient) -> None:
    shown = await client.request("order.preview", kind="setpoint", value=40_000.0, **WHY)
    assert (shown["low"], shown["unit"]) == (-60_000.0, "W")
    assert 0 < shown["high"] < 40_000
    assert as_words(shown["high_why"]).startswith("reserve: SoC 16.1 %, reserve 15.6 %")
    assert "held to discharge" in as_words(shown["notes"][0])
    assert shown["consequence"][0]["code"] in ("consequence.gives", "consequence.rests")
    assert there.gateway.orders.active == ()
    assert await order(client, there, "setpoint", 40_000.0)
    assert there.devices.pcs_w == pytest.approx(shown["high"], abs=1), "limits win, and the note has said so"


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


REFUSED: list[tuple[str, float, dict[str, Any], str]] = [
    ("setpoint", 61_000.0, {}, "beyond ratings: discharge 61.0 kW against rated 60.0 kW charge, 60.0 kW discharge"),
    ("setpoint", -61_000.0, {}, "beyond ratings: charge 61.0 kW"),
    ("setpoint", float("nan"), {}, "value: expected a number"),
    ("import-target", 120_000.0, {}, "beyond ratings: import 120.0 kW against export limit 20.0 kW, fuse 110.4 kW"),
    ("setpoint", 1.0, {"for_s": 3601.0}, "orders.max_s: 1 h is longer than the 1 h"),
    ("setpoint", 1.0, {"for_s": 7200.0}, "orders.max_s: 2 h is longer than the 1 h this site allows"),
    ("setpoint", 1.0, {"for_s": -60.0}, "in the past: a duration of -60 s has ended before it begins"),
    ("setpoint", 1.0, {"reason": ""}, "reason: an order needs a reason"),
    ("setpoint", 1.0, {"reason": "a\nb\nc"}, "reason: expected printable characters on one line"),
    ("setpoint", 1.0, {"seen_utc_s": 0.0}, "stale console: the newest state it has seen is"),
    ("setpoint", 1.0, {"seen_utc_s": None}, "stale console: expected seen_utc_s"),
    ("soc-target", 80.0, {"by_utc_s": 1e9}, "in the past: the time stated was"),
    ("soc-target", 80.0, {}, "by: a SoC target needs the time"),
    ("soc-target", 99.0, {"by_utc_s": -3600}, "beyond ratings: SoC 99 % against soc_min 5 %, soc_max 95 %"),
    ("soc-target", 95.0, {"by_utc_s": -600}, "takes charge 223.4 kW, rated 60.0 kW; it can be had in 37 min"),
    ("soc-target", 80.0, {"by_utc_s": -90_000}, "orders.soc_target_max_s: 25 h is longer than the 24 h"),
    ("reserve-level", 97.0, {}, "beyond ratings: reserve 97 % SoC"),
    ("node-cap", 900.0, {"target": "gpu-99"}, "node: 'gpu-99': expected one of gpu-01, here"),
    ("node-cap", 900.0, {"target": "here"}, "node: here takes no power cap; these do: gpu-01"),
    ("node-cap", 0.0, {"target": "gpu-01"}, "beyond ratings: gpu-01 at most 0.0 kW against 1 W to 65.5 kW"),
    ("disable", 0.0, {"target": "grid"}, "device: 'grid': expected a PCS, pcs1"),
    ("warp", 1.0, {}, "order.set: bad parameters: Invalid enum value 'warp'"),
    ("setpoint", 1.0, {"colour": "red"}, "bad parameters: unknown: colour"),
]


async def test_refused_with_rule_and_figure(there: Running, client: GatewayClient) -> None:
    for kind, value, more, said in REFUSED:
        if (by := more.get("by_utc_s")) is not None and by < 0:
            more = more | {"by_utc_s": there.gateway.clock.utc_s() - by}
        line = await refused(client, there, kind, value, **more)
        assert said in line


async def test_refused_for_a_device_that_is_offline_and_on_record(there: Running, client: GatewayClient) -> None:
    there.devices.offline.update(("pcs1", "gpu-01"))
    async with asyncio.timeout(LIMIT_S):
        while {d.id for d in (await there.gateway.loop.next_tick()).snapshot.devices if not d.online} < {
            "pcs1",
            "gpu-01",
        }:
            pass
    line = await refused(client, there, "setpoint", 1_000.0)
    assert line.startswith("device offline: pcs1 has been silent for")
    assert "pcs1: unplugged" in line
    assert "device offline: gpu-01" in await refused(client, there, "node-cap", 900.0, target="gpu-01")
    assert (await client.request("order.set", kind="hold"))["order"]["kind"] == "hold"
    there.audit.write({"kind": "note"}).result(LIMIT_S)
    refusals = [row for row in rows(there) if row["kind"] == "refused"]
    assert len(refusals) == 2
    assert "device offline: pcs1" in refusals[0]["text"]


async def test_a_flood_of_refusals_does_not_fill_the_record(there: Running, client: GatewayClient) -> None:
    for _ in range(80):
        await refused(client, there, "setpoint", 1.0, reason="")
    there.audit.write({"kind": "note"}).result(LIMIT_S)
    assert sum(row["kind"] == "refused" for row in rows(there)) == 60
    other = Peer(1, os.getuid() + 1, 1, "alice")  # whose refusals are counted on their own
    there.gateway.log.record_refusal(Command(peer=other, name="order.set hold", text="hold"), "no")
    there.audit.write({"kind": "note"}).result(LIMIT_S)
    assert [row["who"] for row in rows(there) if row["kind"] == "refused"][-1] == "alice"


# ── a disk that is full ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_full_disk_refuses_what_raises_risk_and_runs_what_lowers_it(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await order(client, there, "setpoint", 20_000.0))["order"]["id"]
    await order(client, there, "disable", target="pcs1")
    fill_the_disk(there, monkeypatch)
    line = ""
    for n in range(40):  # first whatever room is left in the last page
        try:
            answer = await order(client, there, "node-cap", 900.0 + n, target="gpu-01", reason="x" * 190)
        except RequestFailed as error:
            line = str(error)
            break
        await client.request("order.end", id=answer["order"]["id"])
    assert line.startswith("audit: not on record, so not done")
    assert "database or disk is full" in line
    assert "hold, stop, end and abort work all the same" in line
    held = await client.request("order.set", kind="hold")
    assert "full" in held["not_durable"]
    assert held["order"]["id"].startswith("n")
    assert there.gateway.loop.published is not None
    assert there.gateway.loop.published.decision.battery_w == 0.0
    ended = await client.request("order.end", id="*")
    assert held["order"]["id"] in ended["ended"]
    assert "full" in ended["not_durable"]
    assert (await client.request("stop"))["not_durable"]
    disabled = next(o for o in there.gateway.orders.active if o.kind.value == "disable")
    with pytest.raises(RequestFailed, match="audit: not on record, so not done"):  # this one puts power back on
        await client.request("order.end", id=disabled.id, seen_utc_s=there.gateway.clock.utc_s())
    assert any("not durable" in line and '"stop"' in line for line in there.anchored), "syslog has it"
    assert "full" in there.audit.error
    assert first not in [o.id for o in there.gateway.orders.active]
    # the disk has room again: what was spooled is on record, marked
    monkeypatch.undo()
    there.audit.write({"kind": "note"}).result(LIMIT_S)
    late = [row for row in rows(there) if row.get("durable")]
    assert {"order.set hold", "order.end", "stop"} <= {row.get("command") for row in late}
    assert all("could not be written when it happened" in row["durable"] for row in late)
    refused = [row for row in rows(there) if row["kind"] == "refused"]
    assert [row["command"] for row in refused] == ["order.set node-cap", "order.end disable"]
    assert all("not on record, so not done" in row["text"] for row in refused)
    assert verify(there.directory).ok


async def test_what_a_slow_disk_writes_after_it_was_refused_is_on_record_as_refused(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.command_log.RAISE_WAIT_S", 0.1)
    disk, insert = threading.Event(), AuditLog._insert

    def slow(audit: AuditLog, con: sqlite3.Connection, records: list[Any]) -> list[int]:
        if records:
            disk.wait(LIMIT_S)
        return insert(audit, con, records)

    monkeypatch.setattr(AuditLog, "_insert", slow)
    with pytest.raises(RequestFailed, match="the disk has not answered"):
        await order(client, there, "setpoint", 20_000.0)
    disk.set()
    async with asyncio.timeout(LIMIT_S):
        while len(found := [row for row in rows(there) if row.get("command") == "order.set setpoint"]) < 2:
            await there.gateway.loop.next_tick()
    intent, result = found
    assert (intent["kind"], result["kind"], result["of"], result["outcome"]) == (
        "intent", "result", intent["seq"], "refused",
    )  # fmt: skip
    assert there.gateway.orders.active == ()
