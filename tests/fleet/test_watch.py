"""Each site by itself: those that hang, refuse or talk nonsense delay no other, and what was known of them stays."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
import pytest
from fleet_samples import NOW_S, REFUSED, Answer, FakeClient, FakeLink, answering, connecting, site
from scenes import read
from waiting import LIMIT_S

from dispatch.model.readings import Quality, Reading, reading
from fleet import watch as watch_module
from fleet.sites import SiteAddress
from fleet.table import LIVE, SILENT, rows_of
from fleet.watch import Watch, ask_overview, sound
from gateway.api.protocol import VERSION
from gateway.api.site_overview import KindOfAlarm, overview
from gateway.errors import LinkLost, RequestFailed


def addresses(names: Any) -> list[SiteAddress]:
    return [SiteAddress(name) for name in names]


async def until(watch: Watch, what: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not what():
            await watch.change()


async def test_5_of_30_hang_and_the_others_stay_fresh() -> None:
    asked = dict.fromkeys(range(30), 0)

    def counting(number: int) -> Answer:
        def answer(method: str, params: dict[str, Any]) -> Any:
            asked[number] += 1
            hangs = number in (3, 4) and asked[number] > 1  # after a first answer
            return None if hangs else msgspec.to_builtins(site(number))

        return answer

    answers: dict[str, Answer | Exception | None] = {f"s{n:02}": counting(n) for n in range(30)}
    answers |= {"s00": None, "s01": None, "s02": REFUSED}
    now_s = [1000.0]
    watch = Watch(
        addresses(answers), connect=connecting(answers), period_s=0.001, monotonic=lambda: now_s[0], utc=lambda: NOW_S
    )
    watch.start()
    try:
        healthy = list(range(5, 30))
        await until(watch, lambda: min(asked[n] for n in healthy) >= 2 and asked[3] == asked[4] == 2)
        now_s[0] += 20.0
        before = dict(asked)
        await until(watch, lambda: min(asked[n] - before[n] for n in healthy) >= 2)
        rows = {row.name: row for row in rows_of(watch.states, now_s[0])}
    finally:
        await watch.stop()
    assert all(rows[f"s{n:02}"].fresh for n in healthy)
    assert rows["s02"].trouble == "Host key verification failed."
    assert (rows["s03"].link, rows["s03"].age_s) == (SILENT, 20.0)
    assert rows["s03"].overview == site(3), "what was known is kept"
    assert rows["s00"].overview is None
    assert not rows["s00"].fresh


async def test_a_request_that_hangs_ends_the_link_and_another_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LEAST_PAUSE_S", 0.001)
    seen: list[str] = []

    def answer(method: str, params: dict[str, Any]) -> Any:
        seen.append(method)
        if len(seen) == 1:
            return RequestFailed("fleet.now: the gateway did not answer within 5 s", "timeout")
        return msgspec.to_builtins(site(1))

    watch = Watch(addresses(["a"]), connect=connecting({"a": answer}), utc=lambda: NOW_S)
    watch.start()
    await until(watch, lambda: watch.states[0].tries == 1)
    assert "did not answer" in watch.states[0].trouble
    await until(watch, lambda: watch.states[0].linked)
    await watch.stop()
    assert (watch.states[0].tries, watch.states[0].trouble) == (0, "")


async def test_tries_come_later_and_later_and_not_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: dict[str, list[float]] = {"a": [], "b": []}
    ended = asyncio.Event()

    async def sleep(seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        name = task.get_coro().cr_frame.f_locals["address"].name  # type: ignore[union-attr]
        pauses[name].append(seconds)
        if min(map(len, pauses.values())) >= 8:
            ended.set()
        await real(0)

    real = asyncio.sleep
    monkeypatch.setattr(watch_module.asyncio, "sleep", sleep)
    watch = Watch(addresses("ab"), connect=connecting({"a": REFUSED, "b": REFUSED}), monotonic=lambda: 0.0)
    watch.start()
    await asyncio.wait_for(ended.wait(), LIMIT_S)
    await watch.stop()
    for waited in pauses.values():
        assert all(1 <= s / p <= 1.3 for s, p in zip(waited, (1, 2, 4, 8, 16, 32, 60, 60), strict=False))
    assert pauses["a"][:3] != pauses["b"][:3]


@pytest.mark.parametrize("ahead_s", [172_800.0, -172_800.0])
async def test_a_clock_two_days_off_is_told(ahead_s: float) -> None:
    found = site(1, utc_s=NOW_S + ahead_s)
    watch = Watch(addresses("a"), connect=connecting({"a": answering(found)}), utc=lambda: NOW_S)
    watch.start()
    await watch.all_looked(LIMIT_S)
    await watch.stop()
    (row,) = rows_of(watch.states, watch.monotonic())
    assert row.trouble == f"its clock is 2.0 d {'ahead' if ahead_s > 0 else 'behind'}"
    assert row.link == LIVE


async def test_an_answer_that_is_none_is_trouble_of_that_site_alone() -> None:
    answers: dict[str, Answer | Exception | None] = {
        "bad": lambda method, params: {"utc_s": "now"},
        "good": answering(site(1)),
    }
    watch = Watch(addresses(answers), connect=connecting(answers), utc=lambda: NOW_S)
    watch.start()
    await watch.all_looked(LIMIT_S)
    await watch.stop()
    rows = {row.name: row for row in rows_of(watch.states, watch.monotonic())}
    assert rows["good"].fresh
    assert rows["bad"].trouble


async def test_what_ssh_said_last_stands_for_a_lost_link() -> None:
    async def connect(address: SiteAddress, ssh: Any) -> Any:
        return FakeLink(FakeClient("a", lambda m, p: LinkLost("a: the link broke")), "Connection reset by peer")

    watch = Watch(addresses("a"), connect=connect)
    watch.start()
    await watch.all_looked(LIMIT_S)
    await watch.stop()
    assert watch.states[0].trouble == "a: Connection reset by peer"


def test_figures_that_are_no_numbers_are_not_known() -> None:
    found = sound(site(1, load_w=math.nan, import_w=Reading(math.inf, 1.0, Quality.GOOD), pv_w=1.0))
    assert (found.load_w, found.pv_w, found.import_w.value) == (None, 1.0, None)
    for wrong in (math.nan, 1e300, -1.0):
        with pytest.raises(msgspec.ValidationError, match="utc_s"):
            sound(site(1, utc_s=wrong))


def test_figures_that_no_site_has_do_not_spoil_the_sums() -> None:
    found = sound(site(1, load_w=1.7e308, energy_kwh=1e300, jobs_running=2**63 - 1, import_w=reading(-1e308)))
    assert (found.load_w, found.energy_kwh, found.jobs_running, found.import_w.value) == (None, None, None, None)
    for alarms in ((KindOfAlarm("a", "high", 2**62, 0, 0.0),), (KindOfAlarm("a", "high", 1, 1, 0.0),) * 101):
        with pytest.raises(msgspec.ValidationError, match="alarms"):
            sound(site(1, alarms=alarms))


async def test_what_a_site_says_is_one_line_and_makes_no_row_of_its_own() -> None:
    text = "A\n\x1b[2Jdelta  \u202eblackout\r"
    said = {"site": text, "island": text, "mode": text, "timezone": text}
    found = sound(site(1, **said, alarms=(KindOfAlarm(text, text, 1, 1, 0.0),)))
    texts = [found.site, found.island, found.mode, found.timezone, found.alarms[0].kind, found.alarms[0].priority]
    assert all(each.isprintable() for each in texts), texts
    watch = Watch(addresses(["a"]), connect=connecting({"a": lambda *_: RequestFailed(text * 100, "failed")}))
    watch.start()
    await until(watch, lambda: watch.states[0].tries == 1)
    await watch.stop()
    assert watch.states[0].trouble.isprintable()
    assert len(watch.states[0].trouble) <= 200


@pytest.mark.parametrize("version", [1, VERSION])
async def test_of_an_earlier_release_the_figures_come_from_its_state(version: int) -> None:
    """It does not know the request; what it is then asked for holds the same figures."""
    calm = read("calm")
    assert calm.published is not None
    assert calm.welcome is not None

    def answer(method: str, params: dict[str, Any]) -> Any:
        if method == "status":
            return msgspec.to_builtins(calm.published)
        return RequestFailed(f"unknown method {method!r}; known: at, audit, status", "refused")

    client = FakeClient("a", answer)
    client.welcome = msgspec.structs.replace(calm.welcome, version=version)
    found, remark = await ask_overview(client)
    assert found == overview(calm.published, client.welcome)
    assert found.load_w is not None
    assert remark.startswith("an earlier release")
    assert ("link version 1" in remark) == (version == 1)


async def test_a_refusal_other_than_an_unknown_method_is_not_an_older_gateway() -> None:
    client = FakeClient("a", lambda method, params: RequestFailed("not ready", "refused"))
    with pytest.raises(RequestFailed, match="not ready"):
        await ask_overview(client)
