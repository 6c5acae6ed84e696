"""`skerry event`: what is asked of the gateway, what is said of its answers, and the report from a record."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from iq_days import Clock
from plan_site import site

from console.cli import grid_events
from console.cli.grid_event_text import CappedRun, ahead_lines, peak_line, report_lines, status_lines
from console.cli.main import run
from dispatch.events.flexibility import Expected, Offer
from dispatch.events.model import EventFigures, EventState, GridEvent, KeptEvents, Phase
from dispatch.events.report import Peak, Recorded, report
from dispatch.model.equipment import Battery, Meter, Pcs
from dispatch.model.readings import reading
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from gateway import exit_codes
from gateway.errors import RequestFailed
from storage.audit import AuditLog
from storage.config import StorageConfig
from storage.recorder import Recorder

T0 = 1_758_009_600.0  # 2025-09-16 10:00 in Berlin
BERLIN = ZoneInfo("Europe/Berlin")
EVENT = GridEvent(
    id="e3", source="order", who="ada", reason="DSO call", limit_w=30_000.0, given_utc_s=T0, notice_utc_s=T0,
    start_utc_s=T0 + 1800, end_utc_s=T0 + 5400, ramp_s=900.0,
)  # fmt: skip
OFFER = Offer(
    start_utc_s=T0 + 1800, hours=1.0, battery_w=15_000.0, compute_w=5_000.0, import_w=25_000.0, charge_kwh=2.0,
    battery_eur=1.5, compute_eur=0.5, limited_by=Reason("flexibility.energy", {"stored_wh": 16_000.0}),
    expected=Expected(battery_w=15_000.0, battery_eur=1.5, compute_w=5_000.0, compute_eur=0.5),
)  # fmt: skip


class Link:
    """Answers what a gateway would, by method, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}

    def request(self, method: str, **params: Any) -> Any:
        self.asked.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return msgspec.to_builtins(answer)


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    made = Link()

    @contextlib.contextmanager
    def gateway(site: str | None) -> Iterator[Any]:
        yield SimpleNamespace(link=made, zone=BERLIN, now_utc_s=lambda: T0)

    monkeypatch.setattr(grid_events, "gateway", gateway)
    return made


def test_an_event_is_started_with_its_times(link: Link, capsys: pytest.CaptureFixture[str]) -> None:
    note = Reason("flexibility.no_battery")
    link.answers["event.start"] = {"event": EVENT, "replaces": (), "notes": (note,), "state": None, "not_durable": ""}
    asked = ["event", "start", "--import-kw", "30", "--from", "10:30", "--reason", "DSO call"]
    assert run([*asked, "--to", "11:30", "--notice", "15m", "--ramp", "10m", "--rehearse"]) == exit_codes.OK
    assert link.asked == [("event.start", {
        "limit_w": 30_000.0, "drop_w": None, "start_utc_s": T0 + 1800, "end_utc_s": T0 + 5400, "notice_s": 900.0,
        "rehearsal": True, "reason": "DSO call", "ramp_s": 600.0, "seen_utc_s": T0,
    })]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "e3    event: import at most 30.0 kW, 2025-09-16 10:30:00 CEST to 11:30 CEST, ada: DSO call",
        "note      no battery",
    ]
    assert run(["event", "start", "--drop-kw", "10kW", "--for", "2h"]) == exit_codes.OK
    assert link.asked[-1][1]["drop_w"] == 10_000.0
    assert (link.asked[-1][1]["start_utc_s"], link.asked[-1][1]["end_utc_s"]) == (None, T0 + 7200)
    assert "ramp_s" not in link.asked[-1][1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--for", "1h"], "one of --import-kw and --drop-kw"),
        (["--import-kw", "1", "--drop-kw", "1", "--for", "1h"], "one of --import-kw and --drop-kw"),
        (["--import-kw", "1"], "one of --to and --for"),
    ],
)
def test_half_an_event_is_refused(link: Link, capsys: pytest.CaptureFixture[str], asked: list[str], said: str) -> None:
    assert run(["event", "start", *asked]) == exit_codes.USAGE
    assert said in capsys.readouterr().err
    assert link.asked == []


def test_a_dry_run_says_what_it_would_take_and_starts_nothing(link: Link, capsys: pytest.CaptureFixture[str]) -> None:
    link.answers["event.preview"] = {"event": EVENT, "replaces": (), "notes": ()}
    link.answers["flex"] = {"offers": (OFFER,), "compute": {}, "note": None}
    asked = ["event", "start", "--import-kw", "30", "--from", "10:30", "--for", "1h", "--dry-run"]
    assert run(asked) == exit_codes.OK
    assert [method for method, _ in link.asked] == ["event.preview", "flex"]
    assert link.asked[1][1] == {"starts_utc_s": [T0 + 1800], "hours": [1.0]}
    assert capsys.readouterr().out.splitlines()[1:] == [
        "takes     10.0 kW for 1 h: by the forecast, 40.0 kW without battery",
        "battery   10.0 kW, 10.0 of 15.0 kWh that it can give",
        "missing   nothing",
        "cost      about 1.00 EUR against the plan",
        "nothing was started",
    ]
    link.answers["flex"] = RequestFailed("no plan is in force", "refused")
    assert run(asked) == exit_codes.OK
    assert "takes     not known: no plan is in force" in capsys.readouterr().out
    assert run([*asked, "--json"]) == exit_codes.OK
    assert json.loads(capsys.readouterr().out)["offer"] is None


def _without_price() -> Offer:
    return msgspec.structs.replace(OFFER, expected=msgspec.structs.replace(OFFER.expected, compute_eur=None))


def test_what_battery_and_caps_cannot_give_is_missing() -> None:
    by_drop = msgspec.structs.replace(EVENT, limit_w=None, drop_w=25_000.0)
    lines = list(ahead_lines(by_drop, None, OFFER, ""))
    assert lines[0] == "takes     25.0 kW for 1 h: asked"
    assert lines[2:] == [
        "caps      5.0 kW of 5.0 kW that caps can give",
        "missing   5.0 kW",
        "cost      about 2.00 EUR against the plan, GPU-hours included",
    ]
    unpriced = list(ahead_lines(by_drop, None, _without_price(), ""))
    assert unpriced[-1] == "cost      about 1.50 EUR against the plan; GPU-hours have no price"


def test_status_says_how_far_each_is(link: Link, capsys: pytest.CaptureFixture[str]) -> None:
    drop = msgspec.structs.replace(EVENT, id="e4", limit_w=None, drop_w=10_000.0, start_utc_s=T0 - 60)
    held = EventState(event=drop, phase=Phase.HELD, limit_w=30_000.0, baseline_w=40_000.0, over_limit_w=1_500.0)
    over = EventState(event=EVENT, phase=Phase.OVER, limit_w=30_000.0)
    link.answers["event.list"] = {"standing": (held,), "ended": (over,)}
    assert run(["event", "status"]) == exit_codes.OK
    assert capsys.readouterr().out.splitlines() == [
        "e4    event: import 10.0 kW lower than the 5 min before its notice, "
        "2025-09-16 09:59:00 CEST to 11:30 CEST, ada: DSO call",
        "      held: ends in 1 h 30 min",
        "      limit 30.0 kW: 10.0 kW below 40.0 kW",
        "      import is 1.5 kW above the limit",
        "last      e3    event: import at most 30.0 kW, 2025-09-16 10:30:00 CEST to 11:30 CEST, ada: DSO call: over",
    ]
    to_come = EventState(event=msgspec.structs.replace(EVENT, notice_utc_s=T0 + 600))
    link.answers["event.list"] = {"standing": (to_come,), "ended": ()}
    assert run(["event", "status"]) == exit_codes.OK
    assert "not known" not in capsys.readouterr().out, "the limit of a drop to is known from the first"
    link.answers["event.list"] = {"standing": (), "ended": ()}
    assert run(["event", "status"]) == exit_codes.OK
    assert capsys.readouterr().out == "no grid event stands\n"


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.ANNOUNCED, "announced: prepared from 10:15 CEST on"),
        (Phase.PREPARING, "preparing: begins in 30 min"),
        (Phase.ENDING, "ending: free of limits in 1 h 45 min"),
    ],
)
def test_every_phase_has_its_words(phase: Phase, said: str) -> None:
    event = msgspec.structs.replace(EVENT, limit_w=None, drop_w=5_000.0, notice_utc_s=T0 + 900)
    lines = list(status_lines(EventState(event=event, phase=phase), T0, BERLIN))
    assert lines[1].strip() == said
    assert lines[2].strip() == "limit not known before the notice"


def test_an_event_is_aborted_by_its_id(link: Link, capsys: pytest.CaptureFixture[str]) -> None:
    state = EventState(event=EVENT, phase=Phase.ABORTED, aborted_by="ada", abort_reason="called off")
    link.answers["event.abort"] = {"state": state, "not_durable": "disk full"}
    assert run(["event", "abort", "e3", "--reason", "called off"]) == exit_codes.OK
    told = capsys.readouterr()
    assert link.asked == [("event.abort", {"id": "e3", "reason": "called off"})]
    assert told.out == "e3        aborted by ada: called off\n"
    assert "not durable: disk full" in told.err


# ── the report ──────────────────────────────────────────────────────────────────────────────────────────────────────

SITE = """
[site]
name = "Test site"
timezone = "Europe/Berlin"
[grid]
fuse_a = 160
contracted_peak_w = "80 kW"
[[meter]]
id = "grid"
url = "tcp://127.0.0.1:1502"
[[battery]]
id = "bat1"
energy_kwh = 100
[[pcs]]
id = "pcs1"
battery = "bat1"
charge_w = "60 kW"
discharge_w = "60 kW"
url = "tcp://127.0.0.1:1503"
[tariff]
fee_eur_per_kwh = 0.3
"""
FIGURES = EventFigures(month_peak_at_notice_w=45e3, month_peak_after_w=45e3, capped_s={"gpu01": 120.0}, shed_wh=500.0)
STATE = EventState(
    event=EVENT, phase=Phase.OVER, limit_w=30_000.0, figures=FIGURES, plan_before=(0.0,), plan_before_utc_s=T0
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site file and its record: 40 kW of load for two hours, the battery gives 12 kW while the event is held."""
    directory = tmp_path_factory.mktemp("event")
    (directory / "site.toml").write_text(SITE)
    recorder = Recorder(directory, StorageConfig(hot_period_s=60), "boot", clock=Clock(T0 + 7300))
    for n in range(120):
        battery_w = 12_000.0 if 30 <= n < 90 else 0.0
        utc_s = T0 + 60 * n
        snapshot = Snapshot(
            seq=n, utc_s=utc_s, mono_s=utc_s - 1.7e9, grid=Meter("grid", w=reading(40_000.0 - battery_w)),
            pcs=(Pcs("pcs1", w=reading(battery_w)),), batteries=(Battery("bat1", soc_pct=reading(50.0)),),
        )  # fmt: skip
        recorder.put(snapshot, None, {"price.eur_per_kwh": 0.3})
    recorder.save_state("grid_events", msgspec.to_builtins(KeptEvents(ended=(STATE,), number=3)))
    assert recorder.close()
    audit = AuditLog(directory, "boot/1", Clock(T0 + 7300), lambda head: None)
    audit.spool({"kind": "grid event", "text": "e3: is over", "grid_event": msgspec.to_builtins(STATE)}).result(10)
    audit.close()
    return directory


def test_the_report_is_made_of_the_record(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["event", "report", "--site", str(place / "site.toml")]
    assert run(asked) == exit_codes.OK
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "Event e3, 2025-09-16 10:30:00 CEST: KEPT",
        "Asked     import at most 30.0 kW for 1 h by ada: DSO call",
        "Held      1 h; notice 10:00 CEST, ramp 15 min after it",
        "Within    100.0 % of the time; 100 % of it is on record",
        "10:30 – 10:45         28.0      30.0                  —         0.0",
        "          caps withheld 0.5 kWh: without a price",
        "          prepared 0.0 kWh, discharged 12.0 kWh beyond it",
        "Peak      of the month did not rise: 45.0 kW",
        "Capped    gpu01 2 min",
        "Audit     row 1 holds these figures",
    ):
        assert line in lines, lines
    assert run([*asked, "--json"]) == exit_codes.OK
    document = json.loads(capsys.readouterr().out)
    assert [one["import_w"] for one in document["intervals"]] == [28_000.0] * 4
    assert document["cost"]["energy_eur"] == pytest.approx(-0.3 * 12)
    assert (document["result"], document["audit_row"], document["capped_runs"]) == ("kept", 1, [])


def test_events_are_listed_and_found_by_id(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["event", "report", "--site", str(place / "site.toml")]
    assert run([*asked, "--list"]) == exit_codes.OK
    assert capsys.readouterr().out.startswith("e3    event: import at most 30.0 kW")
    assert run([*asked, "e9"]) == exit_codes.FAILED
    assert "there is no grid event e9 on record" in capsys.readouterr().err
    assert run([*asked, "--baseline", "similar-days"]) == exit_codes.FAILED
    assert "fewer than five such days" in capsys.readouterr().err


def test_a_shortfall_an_abort_and_capped_jobs_are_said() -> None:
    aborted = msgspec.structs.replace(STATE, aborted_utc_s=T0 + 4500, aborted_by="bob", abort_reason="enough")
    rows = Recorded(
        start_utc_s=int(T0), step_s=60, grid_w=[33_000.0] * 120, battery_w=[7_000.0] * 120, price=[None] * 120
    )  # fmt: skip
    found = report(site(), aborted, rows)
    assert found is not None
    runs = (CappedRun("slurm", "41", "ann", "train", 120.0, 0.5, 0.03),)
    lines = list(report_lines(found, runs, 17, BERLIN))
    assert lines[0].endswith(": SHORT")
    assert "Aborted   2025-09-16 11:15:00 CEST by bob: enough" in lines
    assert "Missing   2.25 kWh, at most 3.0 kW in an interval" in lines
    assert "Audit     row 17 holds these figures" in lines
    assert any(line.strip().startswith("slurm 41 of ann train: 2 min under caps") for line in lines)


def test_a_rise_of_the_months_peak_is_said_with_what_the_plan_would_have_done() -> None:
    rise = Peak(before_w=42e3, after_w=45e3, rise_eur=30.0, measured_w=45e3, by_plan_w=40e3)
    assert peak_line(rise) == (
        "Peak      of the month rose from 42.0 kW to 45.0 kW, 30.00 EUR; "
        "by the plan before it, import would have come to 40.0 kW"
    )
    assert "not known" in peak_line(Peak(before_w=None, after_w=1.0, rise_eur=None, measured_w=None, by_plan_w=None))
