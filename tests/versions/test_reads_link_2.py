"""What a gateway of link version 2 sent is read; what this version sends to such a console has the shape of then."""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dispatch.model.islanding import Check, DrillReport, IslandReply
from dispatch.model.orders import Preview
from dispatch.model.reasons import Reason, plain
from dispatch.wording.catalogue import words
from gateway.api.ask import decode
from gateway.api.frames import encode
from gateway.api.protocol import PlanMessage, Published, Response, Welcome

FILES = Path(__file__).parent / "link_2"
PASSED = "held, returned, every criterion met"


def frame(scene: str, what: str) -> bytes:
    """A frame of a scene, without its length."""
    for line in map(json.loads, lzma.decompress((FILES / "frames.jsonl.xz").read_bytes()).splitlines()):
        if (line["scene"], line["what"]) == (scene, what):
            return base64.b64decode(line["frame"])[4:]
    raise AssertionError(f"no {what} in {scene}")


def read(scene: str, what: str) -> Any:
    return decode(frame(scene, what), FILES, 2)


def test_a_drill_under_way() -> None:
    published = read("drill", "published")
    assert isinstance(published, Published)
    view = published.decision.islanding
    assert view is not None
    assert view.drill is not None
    assert view.drill.transfer_gap == plain("below our resolution")
    assert all(check.ok for check in view.drill.criteria)
    assert {words(check.name) for check in view.drill.checks} >= {"energy", "PCS pcs1", "switch control"}
    assert view.drill.checks[0].remedy is None
    assert view.reason.code == "seen.switch_open", "codes stay codes"


def test_an_outage() -> None:
    published = read("outage", "published")
    assert published.decision.islanding.reconnect.figures == plain("switch pcc: no grid voltage")
    assert published.decision.ride.why.code.startswith("ride.")


def test_a_drill_that_is_over() -> None:
    assert read("drilled", "published").last_drill.why == plain(PASSED)
    report = msgspec.convert(read("drilled", "drill.status").result["report"], DrillReport)
    assert (report.result, report.why, report.transfer_gap.code) == ("passed", plain(PASSED), "text")
    assert [words(what).partition(":")[0] for _, what in report.timeline][:3] == ["preparing", "opening", "islanded"]


def test_answers() -> None:
    checked = read("drilled", "drill.check").result
    assert words(msgspec.convert(checked["reason"], Reason)).startswith("no drill: reason: none")
    checks = msgspec.convert(checked["checks"], list[Check])
    assert words(checks[0].remedy).startswith("say why")
    preview = msgspec.convert(read("order", "order.preview").result, Preview)
    assert (preview.low, preview.unit) == (pytest.approx(-24_567.2, abs=0.1), "W")
    assert (words(preview.old), words(preview.new)) == ("import 23.4 kW", "import 10.0 kW")
    assert words(preview.high_why) == "protection: 1 of 1 PCS are free to be commanded"


@pytest.mark.parametrize("scene", ["order", "drill", "drilled", "outage"])
def test_every_frame(scene: str) -> None:
    assert isinstance(read(scene, "welcome"), Welcome)
    plan = read(scene, "plan")
    assert isinstance(plan, PlanMessage)
    assert "load band: from past errors" in words(plan.plan.note)
    event = read(scene, "event").event
    assert event.text


@pytest.mark.parametrize("scene", ["order", "drill", "drilled", "outage"])
@pytest.mark.parametrize("what", ["published", "plan", "order.preview", "drill.check", "drill.status"])
def test_sent_back_it_is_what_it_was(scene: str, what: str) -> None:
    """To a console of version 2: sentences where they were, reasons where they were, the same figures everywhere."""
    try:
        was = msgspec.msgpack.decode(frame(scene, what))
    except AssertionError:
        pytest.skip("not in this scene")
    message = read(scene, what)
    again = msgspec.msgpack.decode(encode(message, 2)[4:])
    assert unlike(again, was) == []


def unlike(now: Any, was: Any, where: str = "") -> list[str]:
    """Where two documents differ in what the former one holds."""
    if isinstance(was, dict):
        missing = [f"{where}.{name} is missing" for name in was.keys() - now.keys()]
        return missing + [
            line for name in was.keys() & now.keys() for line in unlike(now[name], was[name], f"{where}.{name}")
        ]
    if isinstance(was, list):
        assert len(now) == len(was), where
        return [line for n, (a, b) in enumerate(zip(now, was, strict=True)) for line in unlike(a, b, f"{where}[{n}]")]
    return [] if now == was else [f"{where}: {now!r}, was {was!r}"]


def test_checks_of_this_version_are_sentences_there() -> None:
    figure = Reason("found.temperature", {"temp_c": 41.26})
    check = Check(Reason("check.temperature", {"battery": "bat1"}), True, figure)
    reply = IslandReply("i1", True, Reason("reply.drill_possible", {"drill_min": 5.0}), (check,))
    answer = msgspec.msgpack.decode(encode(Response(1, True, reply), 2)[4:])["result"]
    assert answer["text"] == "a drill of 5 min may begin"
    assert answer["checks"] == [{"name": "temperature bat1", "ok": True, "figure": "41.3 C", "remedy": ""}]
