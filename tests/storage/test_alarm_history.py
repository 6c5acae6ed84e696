"""Durations of alarms, from their events on record."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from storage_samples import T0

from dispatch.alarms.episodes import AlarmEpisode, Raised
from dispatch.alarms.points import AlarmDefinition, Condition
from dispatch.alarms.priorities import Priority
from dispatch.alarms.shelving import SHELVED, Suppression
from dispatch.alarms.states import AlarmBook
from dispatch.model.events import Event
from dispatch.model.reasons import plain
from storage import schema
from storage.file import TelemetryFile
from storage.reader import Archive
from storage.recorder import nobody

YES = Condition(True, plain("0 V"))


def run(place: Path, begin_s: float, events: list[Event]) -> None:
    """One run of a gateway that has only these to record."""
    file = TelemetryFile(place / schema.FILE, "boot", nobody)
    file.ensure_open(begin_s)
    for event in events:
        file.write_event(event, 0, durable=False)
    file.close(round((begin_s + 5000) * 1e6))


def book() -> AlarmBook:
    peak = AlarmDefinition("peak", Priority.LOW, off_delay_s=0.0, act_within_s=1e6)
    return AlarmBook([AlarmDefinition("out", Priority.HIGH, off_delay_s=0.0), peak])


def test_when_it_came_was_acknowledged_and_went(tmp_path: Path) -> None:
    alarms, events = book(), list[Event]()
    events += alarms.update({"out": YES, "peak": Condition(True, act_within_s=4000.0)}, T0, 0.0)
    events += alarms.acknowledge("out", "kim", T0 + 30)
    events += alarms.update({"peak": Condition(True, act_within_s=60.0)}, T0 + 90, 90.0)
    events += alarms.update({"out": YES}, T0 + 100, 100.0)
    events += alarms.acknowledge("peak", "lee", T0 + 200)
    run(tmp_path, T0 - 1, events)
    run(tmp_path, T0 + 6000, [])
    after = book()
    run(tmp_path, T0 + 12_000, after.update({"out": YES}, T0 + 12_010, 0.0))
    with closing(Archive(tmp_path)) as archive:
        last, *found = archive.alarm_history(T0 - 10, T0 + 20_000)
        assert archive.alarm_history(T0 - 10, T0) == []
        assert [one.id for one in archive.alarm_history(T0 - 10, T0 + 20_000, 1)] == ["out"]
    assert (last.came_utc_s, last.lasted_s, last.restart_utc_s) == (T0 + 12_010, None, None)
    first = {one.came_utc_s: one for one in found if one.id == "out"}
    assert first[T0] == AlarmEpisode("out", "alarm", "out: 0 V", T0, T0 + 90, T0 + 30, "kim")
    cut = first[T0 + 100]
    assert (cut.gone_utc_s, cut.restart_utc_s) == (None, T0 + 12_000), "what became of it nobody has recorded"
    (peak,) = [one for one in found if one.id == "peak"]
    assert (peak.severity, peak.lasted_s, peak.acknowledged_by) == ("alarm", 100.0, "lee")
    assert peak.raised == (Raised(T0 + 90, "now of high priority"),)


def test_one_that_becomes_more_urgent_waits_again_unless_it_is_shelved(tmp_path: Path) -> None:
    soon, sooner = (Condition(True, plain("40 kW"), act_within_s=s) for s in (4000.0, 60.0))
    for shelf in (False, True):
        alarms, events = book(), list[Event]()
        events += alarms.update({"peak": soon}, T0, 0.0)
        if shelf:
            events += alarms.suppress(Suppression("peak", SHELVED, "kim", "work", T0 + 20, T0 + 80), T0 + 20, 20.0)
        else:
            events += alarms.acknowledge("peak", "kim", T0 + 20)
        said = alarms.update({"peak": sooner}, T0 + 40, 40.0)
        off = " (it is shelved)" if shelf else ""
        assert [(e.kind, e.text) for e in said] == [("priority", f"peak: now of high priority; 40 kW{off}")]
        place = tmp_path / str(shelf)
        run(place, T0 - 1, events + said)
        with closing(Archive(place)) as archive:
            (one,) = archive.alarm_history(T0 - 10, T0 + 200)
        assert (one.severity, one.acknowledged_by) == ("alarm", "kim" if shelf else "")
        assert one.raised == (Raised(T0 + 40, f"now of high priority; 40 kW{off}"),)


def test_whoever_shelves_an_alarm_has_seen_it(tmp_path: Path) -> None:
    """Found: "not acknowledged" of an alarm that was shelved."""
    alarms, events = book(), list[Event]()
    events += alarms.update({"out": YES}, T0, 0.0)
    events += alarms.suppress(Suppression("out", SHELVED, "kim", "work", T0 + 20, T0 + 80), T0 + 20, 20.0)
    events += alarms.update({}, T0 + 50, 50.0)
    events += alarms.update({}, T0 + 80, 80.0)
    run(tmp_path, T0 - 1, events)
    with closing(Archive(tmp_path)) as archive:
        assert archive.alarm_history(T0 - 10, T0 + 200) == [
            AlarmEpisode("out", "alarm", "out: 0 V", T0, T0 + 50, T0 + 20, "kim")
        ]
