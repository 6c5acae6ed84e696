"""Shelved alarms, those out of service, first-out, urgency, groups, and the rate of alarms."""

from __future__ import annotations

import pytest

from dispatch.alarms.flood import AlarmRate, RateCounter
from dispatch.alarms.points import AlarmDefinition, Condition
from dispatch.alarms.priorities import Consequence, Priority
from dispatch.alarms.shelving import MOST_SHELVED_S, OUT_OF_SERVICE, SHELVED, Suppression
from dispatch.alarms.states import AlarmBook, AlarmState, NotShelved, UnknownAlarm
from dispatch.model.reasons import plain

YES, NO = Condition(True, plain("12 V")), Condition(False)
MEDIUM = Priority.MEDIUM


def book() -> AlarmBook:
    return AlarmBook(
        [
            AlarmDefinition("a", MEDIUM, off_delay_s=0.0, group="grid"),
            AlarmDefinition("b", MEDIUM, off_delay_s=0.0, group="devices"),
            AlarmDefinition("stop", Priority.HIGH, may_shelve=False),
            AlarmDefinition("warm", MEDIUM, off_delay_s=0.0, deadband=1.0),
            AlarmDefinition("peak", Priority.LOW, consequence=Consequence.MAJOR, act_within_s=4000.0),
        ]
    )


def shelved(id: str, since_s: float, for_s: float | None) -> Suppression:
    kind = OUT_OF_SERVICE if for_s is None else SHELVED
    return Suppression(id, kind, "kim", "fan is being changed", since_s, None if for_s is None else since_s + for_s)


def test_a_shelved_alarm_comes_back_by_itself_and_waits_again() -> None:
    alarms = book()
    alarms.update({"a": YES}, 1000.0, 0.0)
    (event,) = alarms.suppress(shelved("a", 1000.0, 600.0), 1000.0, 0.0)
    assert (event.kind, event.who, event.text) == ("shelf", "kim", "a: shelved: fan is being changed")
    assert alarms.active() == ()
    assert [alarm.id for alarm in alarms.standing()] == ["a"], "a drill is not begun over it"
    with pytest.raises(UnknownAlarm):
        alarms.acknowledge("a", "lee", 1001.0)
    assert alarms.update({"a": YES}, 5.0, 599.0) == [], "the wall clock was set: no matter"
    (only,) = alarms.suppressed(5.0, 599.0)
    assert (only.suppression.until_utc_s, only.state) == (6.0, AlarmState.ACKNOWLEDGED)
    (event,) = alarms.update({"a": YES}, 1600.0, 600.0)
    assert event.text == "a: no longer shelved, its time is up: it stands"
    assert [alarm.state for alarm in alarms.active()] == [AlarmState.UNACKNOWLEDGED]
    assert alarms.suppressed(1600.0, 600.0) == ()


def test_what_came_meanwhile_is_counted_and_told() -> None:
    alarms = book()
    alarms.update({"a": YES}, 1.0, 1.0)
    alarms.suppress(shelved("a", 1.0, 60.0), 1.0, 1.0)
    alarms.update({}, 2.0, 2.0)
    assert alarms.standing() == (), "whoever shelved it has seen it"
    (event,) = alarms.update({"a": YES}, 3.0, 3.0)
    assert event.text == "a: 12 V (it is shelved)"
    assert alarms.rate.per_10_min == 1, "of those that people see"
    assert alarms.suppressed(3.0, 3.0)[0].came == 1
    (event,) = alarms.take_back("a", "lee", 4.0)
    assert event.text == "a: no longer shelved, taken back: it stands, came once meanwhile"
    assert [alarm.id for alarm in alarms.active()] == ["a"]
    with pytest.raises(UnknownAlarm):
        alarms.take_back("a", "lee", 5.0)


def test_shelved_is_what_is_listed_and_may_be() -> None:
    alarms = book()
    alarms.update({"a": NO, "stop": YES}, 1.0, 1.0)
    with pytest.raises(UnknownAlarm):
        alarms.suppress(shelved("a", 1.0, 60.0), 1.0, 1.0)
    with pytest.raises(UnknownAlarm):
        alarms.suppress(shelved("moon", 1.0, None), 1.0, 1.0)
    for for_s in (60.0, None):
        with pytest.raises(NotShelved, match="what it tells of needs somebody at once"):
            alarms.suppress(shelved("stop", 1.0, for_s), 1.0, 1.0)
    alarms.suppress(shelved("a", 1.0, None), 1.0, 1.0)  # before work on it begins
    alarms.update({"a": YES}, 1e6, 1e6)
    assert [alarm.id for alarm in alarms.active()] == ["stop"], "out of service until somebody takes it back"


def test_a_restart_goes_on_with_what_was_shelved_but_never_longer_than_a_day() -> None:
    alarms = book()
    kept = [shelved("a", 100.0, 600.0), shelved("b:x", 0.0, None), shelved("gone", 0.0, None)]
    alarms.adopt([*kept, shelved("b:y", 1e9, 600.0)], 400.0, 7.0)
    alarms.update({"a": YES, "b:x": YES, "b:y": YES}, 401.0, 8.0)
    assert alarms.active() == ()
    alarms.update({"a": YES, "b:x": YES, "b:y": YES}, 700.0, 307.0)
    assert [alarm.id for alarm in alarms.active()] == ["a"]
    alarms.update({"a": YES, "b:x": YES, "b:y": YES}, 700.0, 7.0 + MOST_SHELVED_S)
    assert [alarm.id for alarm in alarms.active()] == ["a", "b:y"], "a clock far back prolongs nothing"


def test_first_out_is_kept_as_it_was_until_the_next_burst() -> None:
    alarms = book()
    alarms.update({"a": YES}, 1.0, 1.0)
    alarms.update({"a": Condition(True, plain("0 V")), "b:x": YES}, 2.0, 2.0)
    first = alarms.first_out()
    assert first is not None
    assert (first.id, first.utc_s, first.detail) == ("a", 1.0, plain("12 V"))
    (_, newest) = alarms.active()
    assert (newest.id, newest.detail, newest.first_detail) == ("a", plain("0 V"), plain("12 V"))
    alarms.acknowledge("a", "kim", 3.0)
    alarms.update({"b:x": YES}, 4.0, 4.0)
    assert alarms.first_out() == first, "it has gone, and is still what it began with"
    alarms.acknowledge("*", "kim", 5.0)
    alarms.update({"b:x": YES, "warm": YES}, 6.0, 6.0)
    again = alarms.first_out()
    assert again is not None
    assert again.id == "warm"
    alarms.update({}, 7.0, 7.0)
    alarms.acknowledge("*", "kim", 8.0)
    alarms.update({}, 9.0, 9.0)
    assert alarms.first_out() is None


def test_it_stays_within_its_deadband() -> None:
    alarms = book()
    for beyond, listed in ((-0.5, False), (0.1, True), (-0.9, True), (0.2, True), (-1.0, False), (-0.5, False)):
        alarms.update({"warm": Condition(beyond > 0, plain("22 °C"), beyond=beyond)}, 1.0, 1.0)
        present = [a for a in alarms.active() if a.state is not AlarmState.RETURNED]
        assert bool(present) is listed, beyond
        if present:
            assert (present[0].detail == plain("22 °C")) is (beyond > 0), "it says that it is back inside its limit"


def test_one_that_becomes_urgent_waits_again_and_does_not_calm_down() -> None:
    alarms = book()
    alarms.update({"peak": Condition(True, plain("x"), act_within_s=4000.0)}, 1.0, 1.0)
    alarms.acknowledge("peak", "kim", 2.0)
    (event,) = alarms.update({"peak": Condition(True, plain("x"), act_within_s=480.0)}, 3.0, 3.0)
    assert (event.kind, event.severity, event.text) == ("priority", "alarm", "peak: now of high priority; x")
    assert alarms.update({"peak": Condition(True, plain("x"), act_within_s=4000.0)}, 4.0, 4.0) == []
    (alarm,) = alarms.active()
    assert (alarm.priority, alarm.state, alarm.act_within_s) == (Priority.HIGH, AlarmState.UNACKNOWLEDGED, 4000.0)


def test_a_group_is_acknowledged_alone() -> None:
    alarms = book()
    alarms.update({"a": YES, "b:n1": Condition(True, kind="node"), "b:x": YES}, 1.0, 1.0)
    assert {alarm.id: alarm.group for alarm in alarms.active()} == {"a": "grid", "b:n1": "compute", "b:x": "devices"}
    assert [event.subject for event in alarms.acknowledge("*", "kim", 2.0, "compute")] == ["b:n1"]


def test_a_flood_begins_above_ten_in_ten_minutes_and_ends_below_five() -> None:
    rate = RateCounter()
    for n in range(10):
        rate.add(float(n))
    assert rate.now(9.0) == AlarmRate(10, False)
    rate.add(10.0)
    assert rate.now(10.0) == AlarmRate(11, True)
    assert rate.now(605.5) == AlarmRate(5, True)
    assert rate.now(606.5) == AlarmRate(4, False)
    for n in range(5):
        rate.add(606.5 + n)
    assert not rate.now(611.0).flood
