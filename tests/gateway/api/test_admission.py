"""What one user may take of the link; the clock is the test's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.admission import Admission, Admitted, LinkLimits, TokenBucket
from gateway.api.permissions import PERMISSIONS, urgent
from gateway.api.protocol import Request
from gateway.log_limit import LogLimit

SMALL = LinkLimits(
    connects_per_s=1.0,
    connects_burst=3.0,
    connections=3,
    urgent_only=2,
    consoles=1,
    requests_per_s=10.0,
    requests_burst=2.0,
    under_way=4,
    reserve_per_s=1.0,
    reserve_burst=2.0,
)


class Clock:
    """Stands until the test moves it."""

    s = 100.0

    def __call__(self) -> float:
        return self.s


def never() -> None:
    pytest.fail("nobody is to be dropped here")


@given(st.lists(st.floats(0.0, 3.0), max_size=60), st.floats(0.1, 50.0), st.floats(1.0, 30.0))
def test_a_bucket_lets_through_its_burst_and_its_rate(gaps_s: list[float], rate_per_s: float, burst: float) -> None:
    now_s, taken = 0.0, 0
    bucket = TokenBucket(rate_per_s, burst, now_s)
    for gap_s in gaps_s:
        now_s += gap_s
        if bucket.take(now_s):
            taken += 1
        else:
            now_s += bucket.wait_s(now_s) + 1e-6
            assert bucket.take(now_s)
            taken += 1
        assert taken <= burst + rate_per_s * now_s + 1e-3


def test_connections_beyond_the_limit_are_for_urgent_commands() -> None:
    clock, dropped = Clock(), list[int]()

    def dropping(number: int) -> Callable[[], None]:
        return lambda: dropped.append(number)

    admission = Admission(SMALL, clock)
    kept = [admission.connect(1, never) for _ in range(3)]
    assert not any(entry.urgent_only for entry in kept)
    beyond = [admission.connect(1, dropping(n)) for n in range(3)]
    assert all(entry.urgent_only for entry in beyond)
    assert dropped == [0]  # the one that has waited longest, never one within the limit
    assert not admission.connect(2, never).urgent_only  # another user is none the worse

    busy = admission.request(beyond[2], None)
    assert busy is not None
    assert busy.line == "too many connections: 3 of this user are open"
    assert admission.request(beyond[2], "stop") is None
    admission.connect(1, lambda: dropped.append(3))
    admission.connect(1, never)
    assert dropped == [0, 1]  # one that gave a command stays until it is answered
    admission.done(beyond[2])
    assert dropped == [0, 1, 3]  # and then is the newest of those that wait
    admission.disconnect(kept[0])
    admission.disconnect(beyond[2])
    assert not admission.connect(1, never).urgent_only


@pytest.mark.parametrize("answered", [True, False])
def test_urgent_commands_do_not_make_connections_permanent(answered: bool) -> None:
    """Each connection beyond the limit gives a command, as fast as the reserve allows; answered or not."""
    clock = Clock()
    admission = Admission(SMALL, clock)
    inside: set[int] = set()
    for number in range(200):
        inside.add(number)
        entry = admission.connect(1, lambda number=number: inside.discard(number))  # type: ignore[misc]
        clock.s += 1.0
        assert admission.request(entry, "stop") is None
        if answered:
            admission.done(entry)
        assert len(inside) <= SMALL.connections + 2 * SMALL.urgent_only


def test_other_users_never_take_the_first_connections_of_a_user() -> None:
    limits = LinkLimits(connections=4, connections_of_all=6, connections_always=2, urgent_only=2)
    admission = Admission(limits, Clock())
    first, second = ([admission.connect(uid, never) for _ in range(4)] for uid in (1, 2))
    assert [entry.urgent_only for entry in first + second] == [False] * 6 + [True] * 2
    third = [admission.connect(3, never) for _ in range(3)]
    assert [entry.urgent_only for entry in third] == [False, False, True]
    assert admission.request(third[0], None) is None
    for entry, line in (
        (second[2], "too many connections: 8 of all users are open, 2 of this user"),
        (third[2], "too many connections: 8 of all users are open, 2 of this user"),
        (admission.connect(1, never), "too many connections: 4 of this user are open"),
    ):
        busy = admission.request(entry, None)
        assert busy is not None
        assert busy.line == line


def test_connections_beyond_the_rate_are_told_from_others() -> None:
    clock = Clock()
    admission = Admission(SMALL, clock)
    assert [admission.connect(1, lambda: None).hurried for _ in range(5)] == [False, False, False, True, True]
    assert not admission.connect(2, never).hurried
    clock.s += 1.0
    assert not admission.connect(1, lambda: None).hurried


def test_every_urgent_command_has_a_reserve_of_its_own() -> None:
    clock = Clock()
    admission = Admission(SMALL, clock)
    entry = admission.connect(1, never)
    assert [admission.request(entry, None) is None for _ in range(4)] == [True, True, False, False]
    assert [admission.request(entry, "order.set hold") is None for _ in range(3)] == [True, True, False]
    assert admission.request(entry, "stop") is None  # not kept out by the flood of holds, nor by what is under way
    busy = admission.request(entry, None)
    assert busy is not None
    assert busy.line == "5 requests of this user are under way"
    for _ in range(5):
        admission.done(entry)
    clock.s += 0.2
    assert admission.request(entry, None) is None


def test_consoles_of_one_user_are_limited() -> None:
    admission = Admission(SMALL, Clock())
    first, second = (admission.connect(1, never) for _ in range(2))
    assert admission.console(first) is None
    busy = admission.console(second)
    assert busy is not None
    assert "1 consoles open" in busy.line
    admission.disconnect(first)
    assert admission.console(second) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["in", "out", "ask", "stop", "later"])), max_size=120))
def test_accounts_never_go_wrong(steps: list[tuple[int, str]]) -> None:
    """Whatever comes in which order: no count goes below zero, and nothing is left of users that are gone."""
    clock = Clock()
    admission = Admission(SMALL, clock)
    inside: list[Admitted] = []
    for uid, step in steps:
        of_user = [entry for entry in inside if entry.uid == uid]
        if step == "in":
            entry = admission.connect(uid, lambda: None)
            inside.append(entry)
        elif step == "later":
            clock.s += 0.7
        elif of_user and step == "out":
            inside.remove(of_user[0])
            admission.disconnect(of_user[0])
        elif of_user and admission.request(of_user[-1], "stop" if step == "stop" else None) is None:
            admission.done(of_user[-1])
        for account in admission._accounts.values():
            assert 0 <= account.connections <= SMALL.connections
            assert account.under_way == 0
            assert len(account.urgent_only) <= SMALL.urgent_only
    clock.s += 1000.0
    last = admission.connect(9, lambda: None)
    for entry in (*inside, last):
        admission.disconnect(entry)
    clock.s += 1000.0
    admission.disconnect(admission.connect(9, lambda: None))
    assert set(admission._accounts) <= {9}


def test_urgent_is_what_commands_without_raising_risk() -> None:
    found = {row for row in PERMISSIONS if urgent(Request(1, row.split(" ")[0], {"kind": row.partition(" ")[2]}))}
    assert {"stop", "drill.abort", "order.set hold", "order.end"} <= found
    handlers_ask_for_more = {"order.end disable", "alarm.acknowledge contact-latched"}
    assert not any(PERMISSIONS[row].raises_risk for row in found - handlers_ask_for_more)
    assert "device.read" not in found, "it asks, and may as well be asked again"
    for params in ({}, {"kind": 7}, {"kind": ["hold"]}, {"kind": "setpoint"}):
        assert urgent(Request(1, "order.set", params)) is None
    assert urgent(Request(1, "status", {"kind": "stop"})) is None


def test_the_log_has_one_line_and_then_a_count() -> None:
    clock = Clock()
    log = LogLimit(clock, 60.0)
    assert [log.passes("a", f"line {n}") for n in range(3)] == [True, False, False]
    assert log.passes("b", "of another")
    assert log.counts() == []
    clock.s += 60
    assert log.counts() == ["line 2 (the last of 2 more of this kind in 60 s)"]
    assert log.passes("a", "anew")
    assert not log.passes("a", "and again")
    assert log.counts(everything=True) == ["and again (the last of 1 more of this kind in 0 s)"]
