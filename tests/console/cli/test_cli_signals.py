"""`skerry signal`: what is asked of the gateway, and what is said of its answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from console.cli import signals
from console.cli.main import run
from console.display.signal_text import most_pressing, short_words, signal_words
from dispatch.model.signals import Quantity, Signal, SignalView, Sort
from gateway import exit_codes

T0 = 1_758_009_600.0  # 2025-09-16 10:00 in Berlin
BERLIN = ZoneInfo("Europe/Berlin")
TARGET = Signal("s1", Sort.MARKET, "acme", Quantity.IMPORT, 40_000.0, T0, T0 + 3600, T0)
LATER = msgspec.structs.replace(TARGET, id="s2", start_utc_s=T0 + 86_000, end_utc_s=T0 + 90_000)


class Link:
    """Answers what a gateway would, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] = {}

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        self.asked.append((method, params))
        return self.answer


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    made = Link()

    @contextlib.contextmanager
    def gateway(site: str | None) -> Iterator[Any]:
        yield SimpleNamespace(link=made, zone=BERLIN, now_utc_s=lambda: T0)

    monkeypatch.setattr(signals, "gateway", gateway)
    return made


def taken(*made: Signal, **more: Any) -> dict[str, Any]:
    answer = {"sender": "acme", "known": False, "signals": made, "ended": (), "notes": ()}
    built: dict[str, Any] = msgspec.to_builtins(answer | more)
    return built


def test_a_file_is_handed_in_as_it_is(link: Link, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "target.json").write_text('{"specversion": "1.0"}')
    note = {"code": "signal.no_tighter", "figures": {"limit_w": 40_000.0, "own_w": 30_000.0}}
    link.answer = taken(TARGET, notes=[note])
    assert run(["signal", "send", str(tmp_path / "target.json")]) == exit_codes.OK
    assert link.asked == [("signal.send", {"event": '{"specversion": "1.0"}'})]
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "s1        import at most 40.0 kW by acme, until 11:00 CEST",
        "note      40.0 kW is no tighter than the site's own limit of 30.0 kW: nothing changes",
    ]
    link.answer = taken(known=True)
    run(["signal", "send", str(tmp_path / "target.json")])
    assert capsys.readouterr().out == "known     the same message was taken before; nothing changes\n"


def test_a_signal_is_entered_by_hand(link: Link, capsys: pytest.CaptureFixture[str]) -> None:
    link.answer = taken(TARGET, not_durable="")
    asked = ["--sender", "dso", "--limit", "export", "--to", "0W", "--reason", "by telephone"]
    assert run(["signal", "send", *asked, "--until", "18:00"]) == exit_codes.OK
    assert run(["signal", "send", *asked, "--from", "11:00", "--for", "30m"]) == exit_codes.OK
    (_, first), (_, second) = link.asked
    assert (first["sender"], first["quantity"], first["limit_w"], first["start_utc_s"]) == ("dso", "export", 0.0, None)
    assert (first["end_utc_s"], first["seen_utc_s"]) == (T0 + 8 * 3600, T0)
    assert (second["start_utc_s"], second["end_utc_s"]) == (T0 + 3600, T0 + 5400)
    capsys.readouterr()
    assert run(["signal", "send", *asked]) == exit_codes.USAGE
    assert "Expected one of --until and --for" in capsys.readouterr().err
    assert run(["signal", "send", "--sender", "dso", "--for", "1h"]) == exit_codes.USAGE
    assert "Missing --limit, --to, or FILE with a signed signal" in capsys.readouterr().err


def test_the_list_says_whose_until_when_and_what_is_missing(link: Link, capsys: pytest.CaptureFixture[str]) -> None:
    views = (SignalView(TARGET, 43_100.0), SignalView(LATER))
    link.answer = {"signals": msgspec.to_builtins(views), "senders": []}
    assert run(["signal", "list"]) == exit_codes.OK
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=2)[:2] == ["s1", "market"]
    assert first.endswith("import at most 40.0 kW by acme, until 11:00 CEST  now 43.1 kW, 3.1 kW over")
    assert second.endswith("by acme, from 09:53 CEST until 2025-09-17 11:00:00 CEST")
    link.answer = {"signals": [], "senders": []}
    run(["signal", "list"])
    assert capsys.readouterr().out == "no signal stands\n"


def test_a_signal_is_ended_by_its_id(link: Link, capsys: pytest.CaptureFixture[str]) -> None:
    link.answer = {"ended": msgspec.to_builtins(TARGET), "not_durable": ""}
    assert run(["signal", "end", "s1", "--reason", "enough"]) == exit_codes.OK
    assert link.asked == [("signal.end", {"id": "s1", "reason": "enough"})]
    assert capsys.readouterr().out == "ended     s1\n"


def test_where_there_is_room_for_one_it_is_the_one_that_is_not_met() -> None:
    short = SignalView(msgspec.structs.replace(TARGET, id="s3"), 50_000.0)
    views = (SignalView(LATER), SignalView(TARGET, 30_000.0), short)
    assert most_pressing(views, T0) is short
    assert most_pressing((), T0) is None
    assert short_words(views[0], BERLIN) == "import 40.0 kW by acme from 09:53"
    failsafe = msgspec.structs.replace(TARGET, failsafe=True)
    assert signal_words(SignalView(failsafe), T0, BERLIN)[0].endswith("by acme, until it is heard again")
    assert short_words(SignalView(failsafe), BERLIN) == "import 40.0 kW by acme until it is heard"
