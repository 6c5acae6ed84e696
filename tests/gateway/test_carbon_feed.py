"""What a kWh of the grid emits: fetched, kept over a restart, and what jobs are told of it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from http_server import HttpServer, response
from small_gateway import running
from waiting import until

from dispatch.model.carbon import MOST_FIGURES, NO_CARBON, CarbonSeries, merged
from drivers.clock import VirtualClock
from drivers.tariffs.feeds.answer import FeedError
from drivers.tariffs.feeds.carbon import parse
from drivers.tariffs.feeds.config import CarbonFeed
from gateway.carbon_feed import STATE, CarbonService, KeptCarbon, kept_carbon

T0 = int(datetime(2026, 11, 29, 23, tzinfo=UTC).timestamp())


def body(measured: list[float | None], forecast: list[float | None], step_s: int = 900, begin_s: int = T0) -> bytes:
    times = [begin_s + n * step_s for n in range(len(measured))]
    answer = {"unix_seconds": times, "co2eq": measured, "co2eq_forecast": forecast, "deprecated": False}
    return json.dumps(answer).encode()


def test_measured_figures_else_those_forecast() -> None:
    found = parse(body([310.5, None, None], [300.0, 305.25, None]), T0, T0 + 86_400)
    assert [found.at(T0 + 900 * n) for n in range(-1, 4)] == [None, 310.5, 305.25, None, None]
    hourly = parse(body([310.5, 320.5], [None, None], 3600), T0, T0 + 86_400)
    assert (hourly.at(T0 + 3599), hourly.at(T0 + 3600), hourly.end_utc_s) == (310.5, 320.5, T0 + 7200)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (body([5000.0], [None]), "has 5000 g/kWh: expected 0 to 2000"),
        (body([-1.0], [None]), "has -1 g/kWh"),
        (body([1.0], []).replace(b'"co2eq": [1.0]', b'"co2eq": []'), "has 1 times, 0 and 1 figures"),
        (body([None], [None]), "has no figure"),
        (body([1.0, 2.0], [None, None], 300), "has uneven times"),
        (body([1.0] * 5001, [None] * 5001), "has 5001 figures: expected at most 5000"),
        (body([1.0], [None], begin_s=9 * 10**17), "has figures of 900000000000000000 to"),
        (body([1.0], [None], begin_s=0), "has figures of 0 to 0 s"),
        (b"<html>", "a page of HTML"),
        (b"{}", "expected JSON"),
    ],
)
def test_what_is_no_answer(answer: bytes, why: str) -> None:
    with pytest.raises(FeedError, match=why.replace("[", r"\[")):
        parse(answer, T0, T0 + 86_400)


def test_new_figures_replace_those_known() -> None:
    known, new = CarbonSeries(T0, (1.0, 2.0, None)), CarbonSeries(T0 + 900, (None, 3.0, 4.0))
    assert merged(known, new, T0) == CarbonSeries(T0, (1.0, 2.0, 3.0, 4.0))
    assert merged(known, new, T0 + 1000) == CarbonSeries(T0 + 900, (2.0, 3.0, 4.0))
    assert merged(NO_CARBON, NO_CARBON, T0) == NO_CARBON
    assert merged(known, NO_CARBON, T0 + 9000) == NO_CARBON
    assert len(merged(known, CarbonSeries(9 * 10**17, (1.0,)), T0).g_per_kwh) == MOST_FIGURES, "whatever a record has"


class Heard:
    """Events."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.lines.append(f"{severity} {subject} {text}")

    def note(self, event: object, durable: bool = False) -> None:
        raise AssertionError("not used")


async def test_it_is_fetched_and_outlives_outage_and_restart() -> None:
    clock, heard, saved = VirtualClock(T0 + 3600), Heard(), dict[str, Any]()
    async with HttpServer({}) as server:
        feed = CarbonFeed(country="de", url=server.url("/co2eq"))

        def service(kept: KeptCarbon | None = None) -> CarbonService:
            return CarbonService(
                feed,
                clock,
                heard,  # type: ignore[arg-type]
                lambda key, value: saved.update({key: value}),
                lambda: "site",
                kept,
            )

        first = service()
        first._client.join()
        assert 150 <= await first.look() <= 450
        assert 300 <= await first.look() <= 900
        assert len(heard.lines) == 1
        assert heard.lines[0].endswith("answers HTTP 404 Not Found")
        server.pages["/co2eq"] = response(b"", "429 Too Many Requests", Retry_After="7200")
        assert await first.look() >= 7200
        server.pages["/co2eq"] = response(body([310.5] * 8, [None] * 8), kind="application/json")
        assert 3000 <= await first.look() <= 4000
        assert server.asked[-1] == "/co2eq?country=de&start=2026-11-29&end=2026-12-01"
        assert first.at(clock.utc_s()) == 310.5
        await first._client.leave()
    kept = kept_carbon(msgspec.json.decode(msgspec.json.encode(saved[STATE])))
    assert service(kept).at(T0) == 310.5
    assert kept is not None
    other = msgspec.structs.replace(kept, country="at")
    assert service(other).at(T0) is None
    for damaged in ({}, {"country": "de", "fetched_utc_s": 1.0, "series": {"start_utc_s": 0, "g_per_kwh": []}}):
        with pytest.raises(msgspec.ValidationError):
            kept_carbon(damaged)
    assert kept_carbon(None) is None


async def test_a_gateway_tells_plan_and_jobs_what_was_fetched_and_again_after_a_restart(place: Path) -> None:
    begin_s = int(time.time() // 86_400 - 1) * 86_400
    now_s, beyond_s = time.time(), begin_s + 4 * 86_400.0
    page = response(body([310.5] * 3 * 96, [None] * 3 * 96, begin_s=begin_s), kind="application/json")
    async with HttpServer({"/co2eq": page}) as server:
        feed = {"country": "de", "url": server.url("/co2eq")}
        sections: dict[str, Any] = {"tariff": {"co2_g_per_kwh": 400.0, "co2_feed": feed}}
        for fetches in (True, False):
            if not fetches:
                del server.pages["/co2eq"]  # what is kept is all there is
            async with running(place, place / "s.sock", commanded=False, **sections) as there:
                accounting = there.gateway.loop._accounting
                assert accounting is not None
                if fetches:
                    await until(lambda: accounting._carbon(now_s) == 310.5)  # noqa: B023  read at once
                for told in (accounting._carbon, there.gateway.planner._source._co2_g_per_kwh):
                    assert (told(now_s), told(beyond_s)) == (310.5, 400.0)
