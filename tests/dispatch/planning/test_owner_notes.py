"""What owners of jobs are told: always possible, never what is not known, and once per change."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.model.reasons import Reason
from dispatch.planning.owner_notes import (
    AGAIN_S,
    HOLD_S,
    CappedNode,
    Ends,
    FreePower,
    Holder,
    ToldOwners,
    WaitingJob,
    capped_note,
    differs,
    waiting_note,
)
from dispatch.power_caps.pricing import HOW
from dispatch.wording.catalogue import ENGLISH, words

ZONE = ZoneInfo("Europe/Berlin")
NOW = 1_796_010_600.0
POWERS = st.integers(0, 600).map(lambda tenths: 100.0 * tenths)
TIMES = st.floats(NOW - 86_400, NOW + 86_400)
HOLDERS = st.lists(
    st.builds(Holder, power_w=POWERS, started_utc_s=TIMES.map(lambda s: min(s, NOW)), end_utc_s=st.none() | TIMES),
    max_size=6,
)
JOBS = st.builds(
    WaitingJob,
    need_w=st.integers(1, 600).map(lambda tenths: 100.0 * tenths),
    nodes=st.integers(0, 9),
    gpus=st.integers(0, 16),
    ahead_w=POWERS,
)
CLOSED = Reason("starts.off_grid", {"state": "islanded"})
FREE = st.none() | st.builds(FreePower, POWERS, st.none() | st.just(CLOSED))


def told_words(note: Reason) -> str:
    """Its words, all of whose codes have some."""
    text = words(note)
    codes = ENGLISH.templates.keys()
    assert not any(f"{code} (" in text or text == code for code in codes), text
    assert text.isprintable()
    assert len(text) < 250
    return text


@given(JOBS, FREE, HOLDERS, st.none() | st.floats(0, 1))
def test_what_a_waiting_job_is_told_can_be(
    job: WaitingJob, free: FreePower | None, holders: list[Holder], share: float | None
) -> None:
    note = waiting_note(job, free, Ends(holders, share, NOW), NOW, ZONE)
    if note is None:
        assert free is not None
        assert free.closed is None
        assert free.free_w >= job.need_w
        return
    text, start = told_words(note), note.figures["start"]
    assert "-" not in text
    assert isinstance(start, Reason)
    for name, at_s in start.figures.items():
        assert not name.endswith("utc_s") or (isinstance(at_s, int | float) and at_s > NOW), "never in the past"
    if free is None:
        assert "kW free" not in text
    if free is None or free.closed is not None:
        assert text.endswith("when it starts is not known")
    elif start.code == "told.start_band":
        assert start.figures["first_utc_s"] <= start.figures["last_utc_s"]  # type: ignore[operator]
    if start.code != "told.start_unknown":
        assert free is not None
        held_w = sum(h.power_w for h in holders if h.end_utc_s is not None)
        assert held_w + free.free_w >= job.need_w + job.ahead_w, "there is that much"
    if note.figures["sooner"] is not None:
        assert free is not None
        (fit, of) = (int(found) for found in re.findall(r"(\d+) of its (\d+)", text)[0])
        assert 1 <= fit < of
        assert job.need_w * fit / of <= free.free_w
    again = waiting_note(job, free, Ends(holders, share, NOW), NOW, ZONE)
    assert not differs(note, again), "the same state tells nothing new"


def test_the_words_of_a_job_that_waits() -> None:
    holders = [Holder(1000.0, NOW - 3600, NOW + 3000), Holder(500.0, NOW - 60, None)]
    ends = Ends(holders, 0.8, NOW)
    note = waiting_note(WaitingJob(1200.0, gpus=4), FreePower(600.0), ends, NOW, ZONE)
    assert words(note) == (
        "waits for power: needs 1.2 kW, 0.6 kW free at 04:50; start expected from 05:15 to 05:45 as things stand; "
        "2 of its 4 GPUs would fit now, unless it takes whole nodes"
    )
    note = waiting_note(WaitingJob(1200.0, nodes=4, gpus=16), FreePower(600.0), Ends(holders, None, NOW), NOW, ZONE)
    assert words(note) == (
        "waits for power: needs 1.2 kW, 0.6 kW free at 04:50; start expected by 05:45 as things stand; "
        "2 of its 4 nodes would fit now"
    )
    behind = waiting_note(WaitingJob(1200.0, ahead_w=500.0), FreePower(600.0), ends, NOW, ZONE)
    assert words(behind) == ("waits for power: needs 1.2 kW, 0.6 kW free at 04:50; when it starts is not known"), (
        "what is ahead takes it, and the other job has no limit"
    )
    assert words(waiting_note(WaitingJob(1200.0), FreePower(9000.0, CLOSED), ends, NOW, ZONE)) == (
        "waits for power: needs 1.2 kW, no job starts: the site is islanded; when it starts is not known"
    )
    assert words(waiting_note(WaitingJob(1200.0), None, ends, NOW, ZONE)) == (
        "waits for power: needs 1.2 kW, how much is free is not known; when it starts is not known"
    )


def cap(node: str, cap_w: float, **more: Any) -> CappedNode:
    return CappedNode(node, cap_w, Reason("told.for_peak"), **more)


CAPS = st.dictionaries(
    st.sampled_from("abc"),
    st.builds(
        CappedNode,
        node=st.sampled_from("abc"),
        cap_w=st.floats(0, 1e5),
        why=st.just(Reason("told.off_grid")),
        since_utc_s=st.none() | TIMES,
        until_utc_s=st.none() | TIMES,
        gpu_limit_w=st.none() | st.floats(0, 1000),
        slower_pct=st.none() | st.floats(0, 100),
        slower_by=st.sampled_from([*HOW.values()]),
    ),
)


@given(st.lists(st.sampled_from("abcd"), unique=True), CAPS)
def test_what_a_capped_job_is_told_is_of_its_own_nodes(nodes: list[str], caps: dict[str, CappedNode]) -> None:
    note = capped_note(nodes, caps, NOW, ZONE)
    if not set(nodes) & caps.keys():
        assert note is None
        return
    assert note is not None
    assert "None" not in told_words(note)
    assert not differs(note, capped_note(nodes, caps, NOW, ZONE))


def test_the_words_of_a_job_that_is_capped() -> None:
    by_hand = CappedNode("a", 1200.0, Reason("told.by_order"), NOW - 600, NOW + 600, 250.0)
    assert words(capped_note(["a"], {"a": by_hand}, NOW, ZONE)) == (
        "capped: node a to 1.2 kW, a GPU to 250 W since 04:40 until 05:00, by an order of an operator"
    )
    some = {"a": by_hand, "b": cap("b", 900.0, slower_pct=12.0, slower_by=HOW["curve"])}
    assert words(capped_note(["a", "b", "c"], some, NOW, ZONE)) == (
        "capped: 2 of its 3 nodes, b the lowest to 0.9 kW, a GPU to 250 W since 04:40, until when is not known, "
        "for the month's peak; about 12 % slower by the published curve, not measured on this job"
    )


@pytest.mark.parametrize(
    ("one", "two", "new"),
    [
        (cap("a", 1200.0), cap("a", 1500.0), False),
        (cap("a", 1200.0), cap("a", 2000.0), True),
        (cap("a", 1200.0), cap("b", 1200.0), True),
        (cap("a", 1200.0, until_utc_s=NOW), cap("a", 1200.0, until_utc_s=NOW + 600), False),
        (cap("a", 1200.0, until_utc_s=NOW), cap("a", 1200.0, until_utc_s=NOW + 3600), True),
        (cap("a", 1200.0), cap("a", 1200.0, gpu_limit_w=200.0), True),
        (cap("a", 1200.0, gpu_limit_w=210.0), cap("a", 1200.0, gpu_limit_w=200.0), False),
    ],
)
def test_only_what_has_moved_is_told_anew(one: CappedNode, two: CappedNode, new: bool) -> None:
    before, after = (capped_note(["x"], {"x": each}, NOW, ZONE) for each in (one, two))
    assert differs(before, after) is new


KEY = ("slurm", "7")
ONE, TWO = (Reason("told.waiting", {"need_w": w}) for w in (1000.0, 9000.0))


def update(owners: ToldOwners, now_s: float, notes: dict[tuple[str, str], Reason], over: Any = None) -> bool:
    """Whether what is told has changed."""
    before = owners.told
    for _ in owners.update(now_s, notes, over or never):
        continue
    return owners.told is not before


def never(*_: object) -> bool:
    return False


def test_an_owner_is_told_once_per_change() -> None:
    owners = ToldOwners()
    assert not update(owners, 0.0, {KEY: ONE})
    assert update(owners, HOLD_S, {KEY: ONE})
    first = owners.told
    assert first == {KEY: ONE}
    assert not update(owners, HOLD_S + 10, {KEY: Reason("told.waiting", {"need_w": 1100.0})})
    assert owners.told is first, "the same object: nothing is sent"
    assert not update(owners, 2 * HOLD_S, {KEY: TWO})
    assert not update(owners, HOLD_S + AGAIN_S - 1, {KEY: TWO})
    assert update(owners, HOLD_S + AGAIN_S, {KEY: TWO})
    assert owners.told == {KEY: TWO}
    assert not update(owners, HOLD_S + AGAIN_S + 1, {})
    assert update(owners, 2 * HOLD_S + AGAIN_S + 1, {})
    assert owners.told == {}


def test_a_job_that_has_started_no_longer_waits_at_once() -> None:
    owners = ToldOwners()
    update(owners, 0.0, {KEY: ONE})
    update(owners, HOLD_S, {KEY: ONE})
    assert update(owners, HOLD_S + 1, {KEY: ONE}, lambda key, told: key == KEY)
    assert owners.told == {}


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from([None, ONE, TWO])), max_size=60))
def test_however_it_goes_to_and_fro_texts_are_bounded(steps: list[tuple[float, Reason | None]]) -> None:
    owners, now_s, changed_s = ToldOwners(), 0.0, list[float]()
    for dt_s, note in steps:
        now_s += dt_s
        if update(owners, now_s, {} if note is None else {KEY: note}):
            changed_s.append(now_s)
    assert all(later - before >= HOLD_S for before, later in pairwise(changed_s))
