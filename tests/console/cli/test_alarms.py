"""`skerry alarms` and `skerry alarm`: what is listed, what is sent, what is said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from console.cli import alarms as module
from console.cli.alarms import alarm, alarms
from console.display.formats import zone_named
from dispatch.alarms.episodes import AlarmEpisode
from dispatch.alarms.flood import AlarmRate
from dispatch.alarms.priorities import Priority
from dispatch.alarms.shelving import OUT_OF_SERVICE, SHELVED, Suppression
from dispatch.alarms.states import Alarm, AlarmState, FirstOut, ShelvedAlarm
from dispatch.model.reasons import plain

NOON_UTC_S = 1_758_016_800.0  # 2025-09-16T10:00:00Z, 12:00 in Berlin
BACK_S = NOON_UTC_S + 3600
SHELF = (
    ShelvedAlarm(
        Suppression("price-feed", SHELVED, "ann", "feed is down", NOON_UTC_S, BACK_S),
        AlarmState.ACKNOWLEDGED,
        Priority.LOW,
        "plan",
        2,
    ),
    ShelvedAlarm(
        Suppression("pcs-local:pcs1", OUT_OF_SERVICE, "kim", "being serviced", NOON_UTC_S),
        AlarmState.NORMAL,
        Priority.MEDIUM,
        "battery",
    ),
)
ALARMS = (
    Alarm("device-lost:pv1", Priority.MEDIUM, AlarmState.UNACKNOWLEDGED, NOON_UTC_S - 60, plain("silent"), group="pv"),
    Alarm(
        "peak-at-risk",
        Priority.HIGH,
        AlarmState.ACKNOWLEDGED,
        NOON_UTC_S - 90,
        acknowledged_by="ann",
        group="grid",
        act_within_s=480.0,
    ),
)


class Live:
    """A gateway that answers at once."""

    zone = zone_named("Europe/Berlin")

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.link = self

    def status(self) -> dict[str, Any]:
        first = FirstOut("peak-at-risk", NOON_UTC_S - 90, plain("import 40 kW"))
        told = {"alarms": ALARMS, "shelved": SHELF, "first_out": first, "alarm_rate": AlarmRate(11, True)}
        return {name: msgspec.to_builtins(value) for name, value in told.items()}

    def now_utc_s(self) -> float:
        return NOON_UTC_S

    def request(self, method: str, **params: Any) -> Any:
        self.asked.append((method, params))
        return self.answers[method]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    there = Live()

    @contextlib.contextmanager
    def opened(site: str | None) -> Iterator[Live]:
        yield there

    monkeypatch.setattr(module, "gateway", opened)
    monkeypatch.setattr(module, "gateway_or_record", opened)
    return there


def said(*words: str, of: Any = alarms) -> str:
    ran = CliRunner().invoke(of, words)
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_they_are_listed_by_group_with_what_is_off_the_list(live: Live) -> None:
    text = said()
    assert text.index("\npv\n" if not text.startswith("pv\n") else "pv\n") < text.index("\ngrid\n")
    assert "device-lost:pv1  pv1: no good answer, since 11:59 CEST, NOT ACKNOWLEDGED" in text
    assert "acknowledged by ann, act within 8 min" in text
    assert "first out peak-at-risk, 2025-09-16 11:58:30 CEST: import 40 kW" in text
    assert "price-feed until 13:00 CEST, by ann since" in text
    assert "feed is down; its condition stands, came 2 times meanwhile" in text
    assert "pcs-local:pcs1, by kim since" in text
    assert "being serviced; not there" in text
    assert "11 in the last 10 min FLOOD" in text
    only = said("--group", "grid")
    assert "device-lost" not in only
    assert "peak-at-risk" in only


def test_the_history_tells_how_long_each_stood(live: Live) -> None:
    live.answers["alarm.history"] = msgspec.to_builtins(
        [
            AlarmEpisode("no-plan", "warning", "No plan", NOON_UTC_S - 60),
            AlarmEpisode(
                "grid-outage", "alarm", "Grid outage", NOON_UTC_S - 900, NOON_UTC_S - 600, NOON_UTC_S - 840, "kim"
            ),
            AlarmEpisode("pcs-fault:pcs1", "alarm", "PCS", NOON_UTC_S - 9000, restart_utc_s=NOON_UTC_S - 8000),
        ]
    )
    oldest, outage, newest = said("--history", "--since", "2025-09-16T09:00:00+02:00").splitlines()
    assert live.asked == [
        ("alarm.history", {"since_utc_s": NOON_UTC_S - 10_800, "until_utc_s": NOON_UTC_S + 1, "limit": 100})
    ]
    assert "not known" in oldest
    assert oldest.endswith("not acknowledged, gateway restarted 09:46 CEST")
    assert "  5 min  " in outage
    assert outage.endswith("outage; acknowledged by kim after 1 min")
    assert "  stands  " in newest
    assert "outage" not in said("--history", "--group", "plan")
    assert CliRunner().invoke(alarms, ["--since", "09:00"]).exit_code == 2


def test_one_is_shelved_taken_out_of_service_and_listed_again(live: Live) -> None:
    live.answers = {
        "alarm.shelve": {"id": "x", "until_utc_s": NOON_UTC_S + 7200, "not_durable": ""},
        "alarm.out_of_service": {"id": "x", "until_utc_s": None, "not_durable": "disk is full"},
        "alarm.return": {"id": "x", "not_durable": ""},
    }
    assert said("shelve", "x", "--for", "2h", "--reason", "fan", of=alarm) == "x is shelved until 14:00 CEST\n"
    assert live.asked[-1] == (
        "alarm.shelve",
        {"id": "x", "for_s": 7200.0, "reason": "fan", "seen_utc_s": NOON_UTC_S},
    )
    assert "not durable: disk is full" in said("out-of-service", "x", "--reason", "fan", of=alarm)
    assert said("return", "x", of=alarm) == "x is listed again when it stands\n"
    assert CliRunner().invoke(alarm, ["shelve", "x", "--reason", "fan"]).exit_code == 2
