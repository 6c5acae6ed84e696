"""Whom is told what of alarms, and when: changes, limits, what is held back, restarts, receivers that misbehave."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_mail import FakeMail
from hypothesis import given, settings
from hypothesis import strategies as st
from published import NOON_UTC_S, Events
from waiting import until

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.reasons import Reason
from drivers.http.client import HttpClient
from drivers.modbus.errors import ConnectionLost, DeviceError
from gateway.errors import CommandRefused
from gateway.outputs.alarm_changes import AlarmFilter, Seen, changes
from gateway.outputs.notice_text import Place, document, mail, text
from gateway.outputs.notifier import STATE, Notifier
from gateway.outputs.outbox import GIVE_UP_S, HOUR_S, MOST_HELD, MOST_TOLD, Message, Outbox, kept_outboxes
from gateway.outputs.receivers import receiver_of
from gateway.outputs.trouble import OutputTrouble
from gateway.site.output_sections import NotifyConfig

PLACE = Place("Hall", "Europe/Berlin", False)
HOOK = NotifyConfig(id="chat", kind="webhook", url="http://127.0.0.1:1/hook")


def alarm(id: str = "device-lost:pv1", state: str = "unacknowledged", since: float = 1.0, **more: Any) -> Alarm:
    detail = None if state == "returned" else Reason("alarm.silent", {"silent_s": 60.0})
    given = {"priority": Priority.MEDIUM, "detail": detail} | more
    return Alarm(id, state=AlarmState(state), since_utc_s=since, **given)


def told(seen: dict[str, Seen], *alarms: Alarm, settled: bool = True) -> list[tuple[str, bool]]:
    return [(change.alarm, change.present) for change in changes(seen, alarms, 5.0, settled=settled)]


def test_an_alarm_is_told_when_it_comes_and_when_it_is_gone() -> None:
    seen: dict[str, Seen] = {}
    assert told(seen, alarm()) == [("device-lost:pv1", True)]
    assert told(seen, alarm()) == []
    assert told(seen, alarm(state="acknowledged")) == []
    assert told(seen) == [("device-lost:pv1", False)]
    assert told(seen) == []


def test_one_that_came_and_went_between_two_looks_is_told_both_ways() -> None:
    seen: dict[str, Seen] = {}
    assert told(seen, alarm(state="returned")) == [("device-lost:pv1", True), ("device-lost:pv1", False)]
    assert told(seen, alarm(since=9.0)) == [("device-lost:pv1", True)]
    assert told(seen, alarm(since=9.0, state="returned")) == [("device-lost:pv1", False)]
    assert told(seen) == []


def test_after_a_restart_what_is_known_is_not_told_again_and_what_is_gone_only_once_that_is_sure() -> None:
    seen = {"device-lost:pv1": Seen(0.0, True, "medium"), "meter-stale": Seen(0.0, True, "high")}
    assert told(seen, settled=False) == []
    assert told(seen, alarm(since=100.0), settled=False) == []
    assert told(seen, alarm(since=100.0), settled=True) == [("meter-stale", False)]
    assert told(seen, settled=True) == [("device-lost:pv1", False)]


def test_nothing_is_told_of_a_shelved_alarm_until_it_is_listed_again() -> None:
    seen: dict[str, Seen] = {}
    other = alarm("no-plan")
    assert len(told(seen, alarm(), other)) == 2
    assert changes(seen, [other], 6.0, settled=True, shelved={"device-lost:pv1"}) == [], "it is not over"
    assert told(seen, alarm(), other) == [], "back on the list, and as it was"
    assert changes(seen, [other], 7.0, settled=True, shelved={"device-lost:pv1"}) == []
    assert told(seen, other) == [("device-lost:pv1", False)], "it had gone meanwhile"


def test_only_the_alarms_asked_for_pass() -> None:
    low = alarm("no-plan", priority=Priority.LOW)
    assert not AlarmFilter(Priority.MEDIUM).passes(low)
    assert AlarmFilter(Priority.LOW, ("no-plan",)).passes(low)
    assert not AlarmFilter(Priority.LOW, ("no-plan",)).passes(alarm())


def come(state: Outbox, *ids: str, utc_s: float = 0.0) -> None:
    for id in ids:
        state.hold(changes(state.seen, [alarm(id, since=utc_s + 1)], utc_s, settled=False))
        state.seen.clear()


def test_an_alarm_is_told_again_only_after_its_time_with_the_number_of_its_changes() -> None:
    state = Outbox()
    come(state, "a")
    first = state.next_message(0.0, 600.0, 20)
    assert first is not None
    assert [(one.change.alarm, one.count) for one in first.told] == [("a", 1)]
    state.pending = None
    come(state, "a", "a", "a")
    assert state.next_message(599.0, 600.0, 20) is None
    come(state, "b")
    other = state.next_message(599.0, 600.0, 20)
    assert other is not None
    assert [one.change.alarm for one in other.told] == ["b"]
    state.pending = None
    later = state.next_message(600.0, 600.0, 20)
    assert later is not None
    assert [(one.change.alarm, one.count) for one in later.told] == [("a", 3)]


def test_what_a_receiver_did_not_take_yet_holds_the_rest_back_and_a_storm_is_bounded() -> None:
    state = Outbox()
    come(state, *(f"a{n}" for n in range(MOST_HELD + 7)))
    assert len(state.held) == MOST_HELD
    first = state.next_message(0.0, 600.0, 20)
    assert first is not None
    assert (len(first.told), first.more) == (MOST_TOLD, 7)
    assert state.next_message(1e6, 600.0, 20) is None  # it is still pending
    assert len(state.held) == MOST_HELD - MOST_TOLD


def test_in_a_storm_the_highest_priority_is_told_first() -> None:
    state = Outbox()
    come(state, *(f"a{n}" for n in range(MOST_HELD)))
    for id in ("fuse-overload", "meter-stale"):
        state.hold(changes({}, [alarm(id, priority=Priority.HIGH)], 0.0, settled=False))
    assert (len(state.held), state.more) == (MOST_HELD, 2)
    first = state.next_message(0.0, 600.0, 20)
    assert first is not None
    assert [one.change.alarm for one in first.told][:3] == ["fuse-overload", "meter-stale", "a0"]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0, 2000), st.integers(0, 3), st.booleans()), max_size=40),
    st.integers(1, 4),
    st.floats(0, 900),
)
def test_no_hour_has_more_messages_and_nothing_is_lost(
    steps: list[tuple[float, int, bool]], most: int, repeat_s: float
) -> None:
    state, now_s, sent, came, said = Outbox(), 0.0, list[float](), 0, 0
    for wait_s, number, taken in steps:
        now_s += wait_s
        come(state, f"a{number}", utc_s=now_s)
        came += 1
        message = state.next_message(now_s, repeat_s, most)
        if message is not None:
            sent.append(now_s)
            said += sum(one.count for one in message.told) + message.more
        if taken:
            state.pending = None
    assert all(sum(at - HOUR_S < other <= at for other in sent) <= most for at in sent)
    assert said + sum(one.count for one in state.held.values()) + state.more == came


def test_what_is_kept_is_read_again() -> None:
    state = Outbox()
    come(state, "a", "b")
    state.next_message(1.0, 600.0, 20)
    assert kept_outboxes({"chat": msgspec.to_builtins(state)}) == {"chat": state}
    assert kept_outboxes(None) == {}


def a_message(*alarms: Alarm) -> Message:
    state = Outbox()
    state.hold(changes(state.seen, alarms, NOON_UTC_S, settled=False))
    made = state.next_message(NOON_UTC_S, 600.0, 20)
    assert made is not None
    return made


def test_the_json_has_code_figures_with_units_and_text() -> None:
    found = document(a_message(alarm(since=NOON_UTC_S)), PLACE)
    assert json.loads(msgspec.json.encode(found)) == found
    (one,) = found["alarms"]
    assert one["detail"] == {"code": "alarm.silent", "figures": {"silent_s": 60.0}}
    assert (one["alarm"], one["subject"], one["present"]) == ("device-lost", "pv1", True)
    assert one["at_utc"] == "2025-09-15T10:00:00.000Z"
    assert "2025-09-15 12:00:00 CEST" in found["text"]
    assert one["title"] in found["text"]


def test_a_mail_is_one_that_a_mail_program_reads() -> None:
    place = Place("Höfe\r\nBcc: x@example.org", "Europe/Berlin", True)
    raw = mail(a_message(alarm(), alarm("meter-stale")), place, "s@example.org", ("a@example.org", "b@example.org"))
    assert raw.isascii()
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert read["To"] == "a@example.org, b@example.org"
    assert read["Bcc"] is None
    assert read["Subject"].startswith("[Höfe")
    assert read["Auto-Submitted"] == "auto-generated"
    assert "Simulated site" in read.get_content()
    assert "Nothing has happened" in text(Message("t", 0.0, ()), place, test=True)


class Receiver:
    """Takes messages, or fails as long as `why` says so."""

    def __init__(self, config: NotifyConfig = HOOK) -> None:
        self.config, self.taken, self.why = config, list[Message](), ""

    async def send(self, message: Message, *, test: bool = False) -> str:
        if self.why:
            raise ConnectionLost("notify chat", self.why)
        self.taken.append(message)
        return ""

    async def try_out(self) -> None:
        """It is there."""


class Site:
    """A notifier whose alarms a test sets."""

    utc_s = NOON_UTC_S

    def __init__(self, receiver: Receiver, kept: dict[str, Outbox] | None = None) -> None:
        self.alarms: list[Alarm] | None = []
        self.events, self.saved = Events(), dict[str, Any]()
        self.trouble = OutputTrouble(self.events)
        clock: Any = type("Clock", (), {"utc_s": lambda _: self.utc_s})()
        self.notifier = Notifier(
            [receiver],
            alarms=lambda: self.alarms,
            clock=clock,
            events=self.events,
            trouble=self.trouble,
            save=self.saved.__setitem__,
            kept=kept or {},
            look_s=0.005,
            first_pause_s=0.005,
        )
        self.tasks = [asyncio.create_task(run()) for _, run in self.notifier.background]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def site_of() -> AsyncIterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(*given: Any) -> Site:
        made.append(Site(*given))
        return made[-1]

    yield make
    for site in made:
        await site.end()


async def test_a_receiver_that_is_back_gets_what_it_missed_after_a_restart_too(site_of: Callable[..., Site]) -> None:
    receiver = Receiver()
    receiver.why = "refused"
    site = site_of(receiver)
    site.alarms = [alarm()]
    await until(lambda: site.trouble.failures.get("notify chat"))
    await site.end()
    receiver.why = ""
    again = site_of(receiver, kept_outboxes(site.saved[STATE]))
    again.alarms = [alarm(since=77.0)]
    await until(lambda: receiver.taken)
    assert [one.change.alarm for one in receiver.taken[0].told] == ["device-lost:pv1"]
    await until(lambda: again.saved[STATE]["chat"]["pending"] is None)
    assert len(receiver.taken) == 1
    assert [subject for subject, _ in site.events.told] == ["notify chat"]


async def test_a_message_that_nobody_takes_is_given_up_and_said_once(site_of: Callable[..., Site]) -> None:
    receiver = Receiver()
    receiver.why = "refused"
    site = site_of(receiver)
    site.alarms = [alarm(), alarm("output-failed:notify chat")]
    await until(lambda: site.trouble.failures.get("notify chat"))
    site.utc_s += GIVE_UP_S
    await until(lambda: len(site.events.told) == 2)
    assert "given up after a day: a message of 1 alarms" in site.events.told[1][1]  # not of its own failure
    await until(lambda: site.saved[STATE]["chat"]["pending"] is None)


async def test_a_test_says_what_came_of_it(site_of: Callable[..., Site]) -> None:
    receiver = Receiver()
    site = site_of(receiver)
    assert await site.notifier.test("chat") == [{"id": "chat", "ok": True, "text": "taken"}]
    receiver.why = "refused"
    (found,) = await site.notifier.test(None)
    assert (found["ok"], "refused" in found["text"]) == (False, True)
    with pytest.raises(CommandRefused, match="no receiver other"):
        await site.notifier.test("other")


class Hook:
    """An HTTP server that takes what is posted, and answers as a test says."""

    def __init__(self) -> None:
        self.posted: list[tuple[bytes, bytes]] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        self.posted.append((head, await reader.readexactly(length)))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


async def test_a_webhook_is_signed_and_its_answer_judged_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_SECRET_HOOK_KEY", "key")
    hook = Hook()
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    monkeypatch.setenv("SKERRY_SECRET_HOOK_URL", url)
    config = NotifyConfig(id="chat", kind="webhook", url_credential="hook-url", secret_credential="hook-key")
    client = HttpClient()
    client.join()
    receiver = receiver_of(config, PLACE, Path(), client)
    assert await receiver.send(a_message(alarm())) == ""
    ((head, body),) = hook.posted
    expected = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert f"Skerry-Signature: sha256={expected}".encode() in head
    assert json.loads(body)["alarms"][0]["alarm"] == "device-lost"
    for answer, what in (
        (b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", "500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "redirects"),
        (
            f"HTTP/1.1 308 TLS\r\nLocation: {url.replace('http', 'https')}\r\nContent-Length: 0\r\n\r\n".encode(),
            "redirects",
        ),
        (b"HTTP/1.1 308 Moved\r\nLocation: /hook/\r\nContent-Length: 0\r\n\r\n", "redirects"),
        (b"HTTP/1.1 404 No /hook here\r\nContent-Length: 0\r\n\r\n", "404"),
        (b"nonsense\r\n\r\n", "notify chat"),
    ):
        hook.answer = answer
        with pytest.raises(DeviceError, match=what) as error:
            await receiver.send(a_message(alarm()))
        assert url not in str(error.value)
        assert "/hook" not in str(error.value)
    await client.leave()
    server.close()
    await server.wait_closed()


async def test_a_mail_goes_to_all_recipients_or_says_who_did_not_get_it() -> None:
    async with FakeMail() as server:
        config = NotifyConfig(
            id="night", kind="mail", host="127.0.0.1", port=server.port, security="none",
            sender="s@example.org", to=("a@example.org", "b@example.org"),
        )  # fmt: skip
        receiver = receiver_of(config, PLACE, Path(), None)
        assert await receiver.send(a_message(alarm())) == ""
        ((to, sent),) = server.mails
        assert to == ["a@example.org", "b@example.org"]
        assert "Subject: [Hall]" in sent
        await receiver.try_out()
        server.answer = lambda line: b"550 no\r\n" if "b@" in line else server._reply(line)
        assert "b@example.org: 550 no" in await receiver.send(a_message(alarm()))
