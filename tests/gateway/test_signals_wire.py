"""Signals through a gateway: over its socket, from a directory, over a restart; what the audit keeps of them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from signed_signals import SOURCE, ed25519_key, event, load_target, signed
from small_gateway import Running, running
from waiting import until

from dispatch.accounting.limit_evidence import Entry, LimitInForce
from dispatch.model.reasons import Reason, RuleId
from dispatch.model.signals import Item, Message, Quantity, SignalView, Sort
from dispatch.orders.refusal import OrderRefused
from dispatch.orders.signal_book import KeptSignals
from drivers.clock import SystemClock
from drivers.signals.cloud_event import SignalNotRead
from gateway import signal_directory
from gateway.api.client import GatewayClient
from gateway.errors import RequestFailed
from gateway.signal_directory import SignalDirectory, beginning_of
from gateway.signals_in_force import STATE
from gateway.unix_groups import in_group
from storage import audit_reader
from storage.config import StorageConfig
from storage.recorder import Recorder

SECTIONS: dict[str, Any] = {
    "signal": [
        {"id": "acme", "sort": "market", "source": SOURCE, "public_key": ed25519_key()},
        {"id": "dso", "sort": "obligation"},
    ]
}


def utc(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat()


def a_target(there: Running, kilowatts: float | None = 12, id: str = "m1", lasts_s: float = 600) -> str:
    data = load_target(kilowatts, None, utc(there.clock.utc_s() + lasts_s))
    return event(signed(data), id=id).decode()


def texts(directory: Path, kind: str) -> list[str]:
    """Of the rows of a kind in the audit, oldest first."""
    return [row["text"] for row in audit_reader.rows(directory, 200) if row["kind"] == kind]


async def shown(there: Running, value_w: float) -> tuple[SignalView, ...]:
    """The signals on screen once the first one shows this power."""
    while True:
        views = (await there.gateway.loop.next_tick()).signals
        if views and views[0].value_w == value_w:
            return views


async def test_signals_by_the_socket_steer_are_kept_and_end(place: Path) -> None:
    async with running(place, place / "s.sock", **SECTIONS) as there:
        client = await GatewayClient.connect(there.socket, 0)
        sent = a_target(there)
        taken = await client.request("signal.send", event=sent)
        assert (taken["sender"], taken["known"], [s["id"] for s in taken["signals"]]) == ("acme", False, ["s1"])
        await until(lambda: there.devices.pcs_w == 8_000)
        (view,) = await shown(there, 12_000.0)
        assert there.gateway.loop.published is not None
        assert there.gateway.loop.published.decision.binding is RuleId.SIGNALS
        assert view.signal.sender == "acme"
        (view,) = (await client.request("signal.list"))["signals"]
        assert (view["signal"]["sender"], view["value_w"], view["shortfall_w"]) == ("acme", 12_000, 0)
        assert (await client.request("signal.send", event=sent))["known"]
        with pytest.raises(RequestFailed, match="not that of public_key"):
            await client.request("signal.send", event=a_target(there, id="m2")[:-9] + 'AAAAAAA"}')
        elsewhere = "00000000-0000-0000-0000-000000000001"
        item = {"quantity": "import", "interval": {"end_time": utc(there.clock.utc_s() + 60)}, "limit": None}
        for_another = signed({"site": elsewhere, "number": 1, "limits": [item]})
        with pytest.raises(RequestFailed, match=f"it is for another site, {elsewhere}"):
            await client.request("signal.send", event=event(for_another, "skerry.limit.set.v1", id="m3").decode())
        await until(lambda: f"it is for another site, {elsewhere}" in str(audit_reader.rows(place, 9)))
        await client.close()
    async with running(place, place / "s.sock", commanded=False, **SECTIONS) as there:
        await until(lambda: there.devices.pcs_w == 8_000)
        client = await GatewayClient.connect(there.socket, 0)
        ended = await client.request("signal.end", id="s1", reason="enough")
        assert ended["ended"]["id"] == "s1"
        await until(lambda: there.devices.pcs_w == 0)
        now_s = there.clock.utc_s()
        entered = {"sender": "dso", "quantity": "charge", "limit_w": 4200.0, "end_utc_s": now_s + 60}
        taken = await client.request("signal.send", **entered, reason="by phone", seen_utc_s=now_s)
        assert taken["signals"][0]["who"]
        await client.close()
    accepted, begun, *_ = texts(place, "signal")
    assert accepted.startswith("signal s1 of acme (market): import at most 12.0 kW from ")
    assert "accepted, by the link, user " in accepted
    assert begun.endswith(": begins")
    signal_texts = texts(place, "signal")
    assert sum(": begins" in text for text in signal_texts if text.startswith("signal s1 ")) == 1, "not once a start"
    assert any(text.endswith(": in force as the gateway starts") for text in signal_texts)
    evidence = texts(place, "limit")
    assert evidence[0] == "begin of import at most 12.0 kW (market, acme s1)"
    assert evidence[1].startswith("interval of import at most 12.0 kW"), "the gateway has stopped"
    assert "mean" in evidence[1]
    assert any(text.startswith("end of import at most 12.0 kW") for text in evidence)
    assert evidence[-1].startswith("interval of charge at most 4.2 kW (obligation, dso s2)")
    proofs = [row for row in audit_reader.rows(place, 200) if row.get("signed_sha256")]
    assert [row["message"] for row in proofs] == ["m1"]


async def test_a_sender_that_is_silent_has_its_failsafe_until_it_is_heard(place: Path) -> None:
    fleet = {
        "id": "fleet",
        "sort": "fleet",
        "source": SOURCE,
        "public_key": ed25519_key(),
        "heartbeat_s": 10,
        "failsafe_import_w": 12_000,
    }
    recorder = Recorder(place, StorageConfig(), "an earlier run")
    recorder.save_state(STATE, KeptSignals(heard={"fleet": SystemClock().utc_s() - 20}))
    recorder.close()
    async with running(place, place / "s.sock", commanded=False, signal=[fleet]) as there:
        signals = there.gateway.signals
        await until(lambda: there.devices.pcs_w == 8_000)
        (view,) = await shown(there, 12_000.0)
        assert view.signal.failsafe
        assert signals.silent() == {"fleet": "its failsafe limits hold"}
        await until(lambda: any(a.id == "signal-silent:fleet" for a in there.gateway.alarms.active()))
        beat = signed({"time": utc(there.clock.utc_s())})
        await signals.receive(event(beat, "skerry.heartbeat.v1"), "test")
        await until(lambda: there.devices.pcs_w == 0)
    said = [e.text for e in there.events if e.subject == "signal"]
    assert said[0] == "no heartbeat of fleet: its failsafe limits hold until the next"
    assert said[-1] == "fleet is heard again: its failsafe limits end"


class Looks:
    """Signals and events as a directory sees them."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, str]] = []
        self.said: list[str] = []
        self.owners: list[int | None] = []
        self.refusal: Exception | None = None

    async def receive(self, raw: bytes, way: str, uid: int | None = None) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.owners.append(uid)
        self.taken.append((raw, way))

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.said.append(text)

    async def call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)


async def test_a_file_is_taken_once_when_it_has_stood_still(tmp_path: Path) -> None:
    looks: Any = Looks()
    directory = SignalDirectory(tmp_path / "in", looks, looks, looks)
    await directory.look()
    await directory.look()
    (said,) = looks.said
    assert said.endswith("in cannot be read: No such file or directory; expected a directory that the gateway may list")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_bytes(b"half")
    (tmp_path / "in" / "a.txt").write_bytes(b"no signal")
    await directory.look()
    (tmp_path / "in" / "a.json").write_bytes(b"the whole")
    await directory.look()
    assert looks.taken == [], "it has changed since the last look"
    await directory.look()
    await directory.look()
    assert looks.taken == [(b"the whole", "file a.json")]
    assert looks.owners == [os.getuid()]
    (tmp_path / "in" / "b.json").write_bytes(b"x")
    looks.refusal = SignalNotRead("no CloudEvent")
    await directory.look()
    await directory.look()
    await directory.look()
    assert looks.said[1:] == ["file b.json is refused: no CloudEvent"]
    (tmp_path / "in" / "c.json").write_bytes(b"y")
    looks.refusal = OrderRefused(Reason("refused.signal_clock"))
    for _ in range(3):
        await directory.look()
    looks.refusal = None
    await directory.look()
    assert looks.taken[1:] == [(b"y", "file c.json")], "it waits until the time is known"
    assert len(looks.said) == 2


def test_a_file_that_others_may_have_written_is_nobodys(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"x")
    assert beginning_of(file) == (b"x", os.getuid())
    for mode in (0o664, 0o646):
        file.chmod(mode)
        assert beginning_of(file) == (b"x", None)
    file.chmod(0o600)
    (tmp_path / "c.json").symlink_to(file)
    assert beginning_of(tmp_path / "c.json") == (b"x", None), "anybody may have made the link"
    (tmp_path / "b.json").hardlink_to(file)
    assert beginning_of(file) == (b"x", None)


def test_the_groups_of_a_user() -> None:
    own = grp.getgrgid(pwd.getpwuid(os.getuid()).pw_gid).gr_name
    assert in_group(os.getuid(), own)
    assert not in_group(os.getuid(), "no-such-group")
    assert not in_group(4_000_000_000, own)


async def test_what_is_no_file_is_refused_and_the_newest_of_many_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal_directory, "MOST_FILES", 3)
    looks: Any = Looks()
    directory = SignalDirectory(tmp_path, looks, looks, looks)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for _ in range(2):
        await directory.look()
    assert sorted(looks.said) == [
        f"file {name}.json is refused: cannot be read: expected a regular file" for name in ("pipe", "zero")
    ]
    for n in range(5):
        (tmp_path / f"{9 - n}.json").write_bytes(b"%d" % n)
        os.utime(tmp_path / f"{9 - n}.json", (4e9 + n, 4e9 + n))
    for _ in range(3):
        await directory.look()
    assert [raw for raw, _ in looks.taken] == [b"2", b"3", b"4"], "in the order in which they came"
    assert looks.said[2:] == [f"{tmp_path} holds more than 3 *.json: only the newest are looked at; remove old ones"]


def in_force(quantity: Quantity, import_w: float) -> LimitInForce:
    return LimitInForce(f"acme {quantity.value} {import_w}", "acme", Sort.FLEET, quantity, import_w)


async def test_the_end_of_one_limit_says_nothing_of_another_and_what_is_cut_is_not_ended(place: Path) -> None:
    async with running(place, place / "s.sock", **SECTIONS) as there:
        signals = there.gateway.signals
        first, second = in_force(Quantity.IMPORT, 10.0), in_force(Quantity.EXPORT, 5.0)
        for limit, what in ((first, "shortfall"), (second, "shortfall"), (second, "end")):
            signals._put_on_record(Entry(what, limit, 0.0, 1.0))
        assert "import at most" in signals.exceeded["acme"]
        signals._put_on_record(Entry("met", first, 0.0, 1.0))
        assert signals.exceeded == {"acme": ""}
        await until(lambda: there.gateway.loop.published is not None)
        now_s = there.clock.utc_s()
        signals.take(Message("acme", (Item(Quantity.IMPORT, 12_000, None, now_s + 600),), id="m1"), "test")
        signals.take(Message("acme", (Item(Quantity.IMPORT, None, now_s + 300, now_s + 600),), id="m2"), "test")
        said = [e.text for e in there.events if e.subject == "signal"]
        assert f"made to end at {datetime.fromtimestamp(now_s + 300, UTC):%Y-%m-%d %H:%M:%SZ} by its sender" in said[-1]
