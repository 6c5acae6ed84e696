"""One power limit for the GPUs of a job over several nodes: as much is taken as was decided, no node goes too deep."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.model.jobs import Job
from dispatch.power_caps.job_groups import NodeShare, capped_in_part, merged, of_jobs, with_one_limit

names = st.sampled_from([f"n{n}" for n in range(8)])
watts = st.floats(500, 10_000)


def job(*nodes: str, **fields: Any) -> Job:
    known: dict[str, Any] = {"scheduler": "s", "id": "1", "state": "running", "submitted_utc_s": 0.0, "gpus": 8}
    return Job(nodes=nodes, **known | fields)


@st.composite
def shares(draw: st.DrawFn) -> NodeShare:
    host_w, gpus = draw(st.floats(0, 400)), draw(st.integers(1, 8))
    base_w = host_w + gpus * draw(st.floats(50, 1_200))
    return NodeShare(base_w, draw(st.floats(0, 1)) * (base_w - host_w), gpus, host_w)


nodes = st.dictionaries(names, st.tuples(shares(), st.floats(0, 1)), max_size=8)


def test_which_jobs_tie_nodes_together() -> None:
    jobs = [job("a", "b"), job("b", "c"), job("d"), job("e", "f", gpus=0), job("g", "h", state="pending")]
    assert of_jobs([*jobs, job("x", "y")]) == (frozenset("abc"), frozenset("xy"))


@given(st.lists(st.sets(names, min_size=1), max_size=6))
def test_each_node_is_in_one_group_with_all_that_it_shares_a_job_with(sets: list[set[str]]) -> None:
    found = merged(sets)
    assert sum(map(len, found)) == len(set().union(*sets))
    assert all(any(one <= group for group in found) for one in sets)
    assert set(merged(reversed(found))) == set(found)


@given(nodes, st.lists(st.sets(names, min_size=2), max_size=3))
def test_one_limit_takes_what_was_decided_within_every_node_s_room(
    given_nodes: dict[str, tuple[NodeShare, float]], sets: list[set[str]]
) -> None:
    able, groups = {id: share for id, (share, _) in given_nodes.items()}, merged(sets)
    caps_w = {id: share.base_w - part * share.room_w for id, (share, part) in given_nodes.items()}
    found = with_one_limit(caps_w, able, groups)
    assert found.keys() == caps_w.keys()
    for group in groups:
        members = sorted(group & able.keys())
        if len(members) < 2:
            continue
        limits = [able[id].per_gpu_w(found[id]) for id in members]
        assert max(limits) - min(limits) < 1e-6
        gpus = sum(able[id].gpus for id in members)
        decided_w = sum(able[id].base_w - caps_w[id] for id in members)
        taken_w = sum(max(able[id].base_w - found[id], 0.0) for id in members)
        least_w = max(able[id].per_gpu_w(able[id].base_w - able[id].room_w) for id in members)
        assert limits[0] >= least_w - 0.51
        assert taken_w <= decided_w + 0.51 * gpus
        assert taken_w >= decided_w - 0.51 * gpus or limits[0] == pytest.approx(least_w, abs=0.51)
    alone = caps_w.keys() - frozenset().union(*groups)
    assert all(found[id] == caps_w[id] for id in alone)


def test_nodes_of_different_size_get_the_same_limit_for_each_gpu() -> None:
    able = {"big": NodeShare(6_000.0, 3_000.0, 8, 400.0), "small": NodeShare(1_600.0, 800.0, 2, 200.0)}
    found = with_one_limit({"big": 5_000.0, "small": 1_600.0}, able, (frozenset(able),))
    assert found == {"big": 400.0 + 8 * 600, "small": 200.0 + 2 * 600}
    assert 6_000 - found["big"] + 1_600 - found["small"] == 1_000, "as was decided"
    uncounted = {**able, "small": NodeShare(1_600.0, 800.0, 0, 200.0)}
    assert with_one_limit({"big": 5_000.0, "small": 1_600.0}, uncounted, (frozenset(able),))["small"] == 1_600.0


def test_a_job_is_capped_in_part_where_one_of_its_nodes_takes_no_cap() -> None:
    groups = (frozenset({"a", "b"}), frozenset({"c", "elsewhere"}))
    assert capped_in_part(groups, ["a", "b", "c", "d"], ["a", "b", "c", "d"]) == {"c"}
    assert capped_in_part(groups, ["a"], ["a", "b", "c"]) == frozenset(), "b can give nothing now, but takes a cap"
