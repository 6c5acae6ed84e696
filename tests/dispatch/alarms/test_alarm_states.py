"""The alarm state machine: delays, acknowledging, first-out, order."""

from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from soak_sizes import examples

from dispatch.alarms.points import AlarmDefinition, Condition
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import AlarmBook, AlarmState, UnknownAlarm
from dispatch.model.reasons import plain

UNACK, ACK, RETURNED = AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED, AlarmState.RETURNED


def definition(name: str, priority: Priority = Priority.MEDIUM, on: float = 0.0, off: float = 0.0) -> AlarmDefinition:
    return AlarmDefinition(name, priority, on, off)


def yes(detail: str = "") -> Condition:
    return Condition(True, plain(detail) if detail else None)


NO, UNKNOWN = Condition(False), Condition(None)


def states(book: AlarmBook) -> dict[str, AlarmState]:
    return {a.id: a.state for a in book.active()}


def test_the_four_roads() -> None:
    book = AlarmBook([definition("a")])
    (event,) = book.update({"a": yes("12 V")}, 1000.0, 0.0)
    assert (event.kind, event.severity, event.subject, event.text) == ("alarm", "alarm", "a", "a: 12 V")
    assert states(book) == {"a": UNACK}
    assert book.active()[0].detail == plain("12 V")
    (event,) = book.acknowledge("a", "kim", 1001.0)
    assert (event.who, event.text) == ("kim", "a: acknowledged")
    assert states(book) == {"a": ACK}
    assert book.active()[0].acknowledged_by == "kim"
    assert book.acknowledge("a", "kim", 1002.0) == []
    (event,) = book.update({"a": NO}, 1003.0, 3.0)
    assert event.text == "a: returned to normal"
    assert states(book) == {}
    book.update({"a": yes()}, 1004.0, 4.0)
    book.update({}, 1005.0, 5.0)  # absent is gone
    assert states(book) == {"a": RETURNED}
    assert book.active()[0].detail is None
    book.update({"a": yes()}, 1006.0, 6.0)
    assert states(book) == {"a": UNACK}
    assert book.active()[0].count == 2
    book.update({"a": NO}, 1007.0, 7.0)
    book.acknowledge("*", "kim", 1008.0)
    assert states(book) == {}
    book.update({"a": yes()}, 1009.0, 9.0)
    assert book.active()[0].count == 1


def test_delays_run_on_monotonic_time_and_start_over() -> None:
    book = AlarmBook([definition("a", on=10, off=5)])
    assert book.update({"a": yes()}, 1000.0, 0.0) == []
    book.update({"a": NO}, 1009.0, 9.0)
    book.update({"a": yes()}, 1010.0, 10.0)
    assert book.update({"a": yes()}, 9_000_000.0, 19.9) == []  # the wall clock jumped: no matter
    assert len(book.update({"a": yes()}, 1020.0, 20.0)) == 1
    assert book.active()[0].since_utc_s == 1020.0  # when the delay was over: as its event and the history have it
    book.update({"a": NO}, 0.0, 21.0)
    book.update({"a": yes()}, 0.0, 25.0)
    assert book.update({"a": NO}, 0.0, 27.0) == []
    assert book.update({"a": NO}, 0.0, 31.9) == []
    assert len(book.update({"a": NO}, 0.0, 32.0)) == 1


def test_what_cannot_be_told_changes_nothing() -> None:
    book = AlarmBook([definition("a", on=2, off=2)])
    book.update({"a": yes()}, 0.0, 0.0)
    book.update({"a": UNKNOWN}, 0.0, 1.0)
    assert book.update({"a": yes()}, 0.0, 2.5) == []  # not seen to hold through
    book.update({"a": yes()}, 0.0, 4.5)
    assert states(book) == {"a": UNACK}
    for t in range(5, 50):
        assert book.update({"a": UNKNOWN}, 0.0, float(t)) == []
    assert states(book) == {"a": UNACK}


def test_first_out_stays_with_the_first_of_a_burst() -> None:
    book = AlarmBook([definition("a", Priority.LOW), definition("b", Priority.HIGH), definition("c")])
    book.update({"a": yes()}, 1.0, 1.0)
    book.update({"a": yes(), "b": yes(), "c": yes()}, 2.0, 2.0)
    assert [(x.id, x.first_out) for x in book.active()] == [("b", False), ("c", False), ("a", True)]
    book.acknowledge("*", "kim", 3.0)
    assert [x.id for x in book.active() if x.first_out] == ["a"]
    book.update({"a": yes(), "b": NO, "c": yes()}, 4.0, 4.0)
    book.update({"a": yes(), "b": yes(), "c": yes()}, 5.0, 5.0)
    assert [x.id for x in book.active() if x.first_out] == ["b"]  # everything was acknowledged: a new burst
    both = AlarmBook([definition("a", Priority.LOW), definition("b", Priority.HIGH)])
    both.update({"a": yes(), "b": yes()}, 1.0, 1.0)
    assert [x.id for x in both.active() if x.first_out] == ["b"]  # at once: the graver one


def test_order_priority_then_state_then_newest() -> None:
    book = AlarmBook([definition("h", Priority.HIGH), definition("m"), definition("l", Priority.LOW)])
    book.update({"m:1": yes()}, 1.0, 1.0)
    book.update({"m:1": yes(), "m:2": yes(), "l": yes()}, 2.0, 2.0)
    book.update({"m:1": yes(), "m:2": yes(), "m:3": yes(), "l": yes(), "h": yes()}, 3.0, 3.0)
    book.acknowledge("h", "kim", 4.0)
    book.acknowledge("m:3", "kim", 4.0)
    assert [a.id for a in book.active()] == ["h", "m:2", "m:1", "m:3", "l"]


def test_events_call_an_alarm_by_its_title() -> None:
    book = AlarmBook([definition("pcs-fault")])
    (event,) = book.update({"pcs-fault:pcs1": yes("DC_OVER_VOLT")}, 1.0, 1.0)
    assert event.text == "PCS pcs1 in fault: DC_OVER_VOLT"


def test_low_priority_is_a_warning() -> None:
    book = AlarmBook([definition("l", Priority.LOW)])
    assert book.update({"l": yes()}, 0.0, 0.0)[0].severity == "warning"


def test_unknown_ids_are_named() -> None:
    book = AlarmBook([definition("a"), definition("b")])
    book.update({"a": yes(), "b": NO}, 0.0, 0.0)
    with pytest.raises(UnknownAlarm, match="no alarm 'b': expected the id of a listed alarm \\(a\\) or \\* for all"):
        book.acknowledge("b", "kim", 1.0)
    with pytest.raises(KeyError, match="has no definition"):
        book.update({"zz:1": NO}, 0.0, 1.0)


class Machine(RuleBasedStateMachine):
    """Against a plain model: three alarms with delays, any order of conditions, time and acknowledging."""

    IDS = ("a", "b:1", "b:2")
    DELAYS: ClassVar = {"a": (0.0, 3.0), "b": (2.0, 1.0)}

    def __init__(self) -> None:
        super().__init__()
        self.book = AlarmBook([definition(n, on=on, off=off) for n, (on, off) in self.DELAYS.items()])
        self.mono = 0.0
        self.state = dict.fromkeys(self.IDS, AlarmState.NORMAL)
        self.run: dict[str, tuple[bool, float] | None] = dict.fromkeys(
            self.IDS
        )  # condition and since when without a break

    @rule(values=st.tuples(*(st.sampled_from([True, False, None]) for _ in IDS)), dt=st.floats(0.1, 4.0))
    def tick(self, values: tuple[bool | None, ...], dt: float) -> None:
        self.mono += dt
        before = dict(self.state)
        for alarm_id, value in zip(self.IDS, values, strict=True):
            self._model(alarm_id, value)
        events = self.book.update(
            {i: Condition(v) for i, v in zip(self.IDS, values, strict=True)}, 1e9 - self.mono, self.mono
        )
        assert sorted(e.subject for e in events) == sorted(i for i in self.IDS if before[i] != self.state[i])

    def _model(self, alarm_id: str, value: bool | None) -> None:
        last = self.run[alarm_id]
        if value is None:
            self.run[alarm_id] = None
            return
        if last is None or last[0] != value:
            self.run[alarm_id] = last = (value, self.mono)
        on, off = self.DELAYS[alarm_id[0]]
        held = self.mono - last[1]
        state = self.state[alarm_id]
        if value and held >= on and state in (AlarmState.NORMAL, RETURNED):
            self.state[alarm_id] = UNACK
        if not value and held >= off and state in (UNACK, ACK):
            self.state[alarm_id] = RETURNED if state is UNACK else AlarmState.NORMAL

    @rule(who=st.sampled_from(["kim", "lee"]))
    def acknowledge_all(self, who: str) -> None:
        events = self.book.acknowledge("*", who, 5.0)
        assert {e.subject for e in events} == {i for i, s in self.state.items() if s in (UNACK, RETURNED)}
        for alarm_id, state in self.state.items():
            self.state[alarm_id] = {UNACK: ACK, RETURNED: AlarmState.NORMAL}.get(state, state)

    @invariant()
    def same(self) -> None:
        assert states(self.book) == {i: s for i, s in self.state.items() if s is not AlarmState.NORMAL}
        assert sum(a.first_out for a in self.book.active()) <= 1
        assert all(a.count >= 1 for a in self.book.active())


TestMachine = pytest.mark.soak(Machine.TestCase)
TestMachine.settings = settings(max_examples=examples(20), stateful_step_count=40, deadline=None)
