"""Lists of nodes that change: what is believed, when a name goes, what is kept; and a gateway that follows a list."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from http_server import HttpServer
from hypothesis import given
from hypothesis import strategies as st
from metrics_pages import node_exporter
from node_readers import in_this_loop
from small_gateway import SITE, Devices
from test_node_polling import reading
from test_slow_devices import Events
from waiting import until

from drivers.clock import SystemClock
from drivers.nodes.known_gpus import KnownGpus
from gateway.device_io import DeviceIo
from gateway.node_frames import ListAnswer
from gateway.node_lists import (
    REMOVED_AFTER_S,
    STATE,
    Change,
    KeptList,
    ListState,
    NodeLists,
    after_answer,
    after_time,
    kept_lists,
)
from gateway.site.loader import compose

PAGES = ["http://{name}:9100/metrics"]
DNS: dict[str, Any] = {"names_dns": ["_x._tcp.example.org"], "source": "exporters", "exporters": PAGES}


def lists_of(*groups: dict[str, Any], **keys: Any) -> tuple[NodeLists, list[str], dict[str, Any]]:
    """The lists, the events, and what was saved last."""
    site = compose(Path("site.toml"), deepcopy(SITE) | {"nodes": [*groups]})
    told, saved = list[str](), dict[str, Any]()
    tell = lambda severity, subject, text: told.append(f"{severity} {subject} {text}")  # noqa: E731
    return NodeLists(site, keys.pop("clock", SystemClock()), tell, saved.__setitem__, **keys), told, saved


def ids(change: Change) -> tuple[list[str], tuple[str, ...]]:
    return [node.id for node in change.added], change.removed


def answer(*names: str, **keys: Any) -> ListAnswer:
    return ListAnswer(0, names, **keys)


# ── what is believed ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_that_is_gone_stays_for_a_time_and_may_come_back() -> None:
    state = after_answer(ListState(("a", "b", "c")), answer("b", "c", "d"), 100.0, 0.0)
    assert (state.names, state.leaving) == (("b", "c", "d"), {"a": REMOVED_AFTER_S})
    assert (state.changed, state.changed_utc_s, state.read_utc_s) == ("new: d; no longer listed: a", 100.0, 100.0)
    assert after_time(state, REMOVED_AFTER_S - 1, ()) is state
    assert after_time(state, REMOVED_AFTER_S, ()).leaving == {}
    assert after_time(state, 0.0, ("a", "b")).leaving == {}  # nothing counts of it any more
    assert after_answer(state, answer("a", "b", "c", "d"), 200.0, 60.0).leaving == {}
    same = after_answer(state, answer("b", "c", "d"), 200.0, 60.0)
    assert (same.leaving, same.changed_utc_s, same.read_utc_s) == ({"a": REMOVED_AFTER_S}, 100.0, 200.0)


@pytest.mark.parametrize("names", [(), ("a",)])
def test_a_list_that_is_empty_or_loses_more_than_half_is_believed_the_second_time(names: tuple[str, ...]) -> None:
    before = ListState(("a", "b", "c"), read_utc_s=1.0)
    doubted = after_answer(before, answer(*names), 100.0, 0.0)
    assert (doubted.names, doubted.read_utc_s) == (("a", "b", "c"), 1.0)
    assert "where there were 3: doubted until it says so twice" in doubted.doubt
    failed = after_answer(doubted, answer(error="gone"), 110.0, 0.0)
    assert (failed.names, failed.error) == (("a", "b", "c"), "gone")
    assert after_answer(failed, answer(*names), 120.0, 0.0).names == names
    assert after_answer(failed, answer("a", "b", "c"), 120.0, 0.0).doubt == ""
    half = after_answer(ListState(("a", "b")), answer("a"), 100.0, 0.0)
    assert (half.names, half.doubt) == (("a",), "")


def test_capitals_are_the_same_name_and_the_known_spelling_stays() -> None:
    state = after_answer(ListState(("GPU1",)), answer("gpu1", "Gpu1", "gpu2"), 0.0, 0.0)
    assert (state.names, state.changed) == (("GPU1", "gpu2"), "new: gpu2")


NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(st.lists(st.one_of(st.none(), NAMES), max_size=8), NAMES)
def test_no_name_is_lost_before_its_time_and_what_is_listed_is_there(
    answers: list[list[str] | None], first: list[str]
) -> None:
    state = ListState(tuple(first))
    for n, names in enumerate(answers):
        before = state
        one = answer(error="gone") if names is None else answer(*names)
        state = after_answer(before, one, float(n), float(n))
        assert {*before.names, *before.leaving} <= {*state.names, *state.leaving}
        assert not {*state.names} & {*state.leaving}
        if names is not None and not state.doubt:
            assert state.names == tuple(names)


# ── the groups of a site ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_adds_nodes_and_takes_them_off_again_and_each_change_is_told_once() -> None:
    lists, told, saved = lists_of(DNS | {"names": ["login1"], "gpus": 8})
    assert lists.names == ("login1",)
    assert ids(lists.take(answer("gpu1", "gpu2", "gpu3"))) == (["gpu1", "gpu2", "gpu3"], ())
    assert lists.nodes[1].exporters == ("http://gpu1:9100/metrics",)
    assert (lists.nodes[1].gpus, lists.nodes[1].terms.cap_w, lists.nodes[1].on_shutdown) == (8, None, ())
    assert ids(lists.take(answer("gpu1", "gpu2", "gpu3"))) == ([], ())
    assert ids(lists.take(answer("gpu1", "gpu3", "gpu4"))) == (["gpu4"], ())
    assert (lists.names, lists.leaving) == (("login1", "gpu1", "gpu3", "gpu4", "gpu2"), ("gpu2",))
    assert ids(lists.expire(())) == ([], ())
    assert ids(lists.expire(("gpu2",))) == ([], ("gpu2",))
    lists.take(answer(error="no server"))
    lists.take(answer(error="no server"))
    lists.take(answer())
    assert lists.names == ("login1", "gpu1", "gpu3", "gpu4")
    lists.take(answer("gpu1", "gpu3", "gpu4"))
    assert told == [
        "info nodes[0] 3 names by DNS, _x._tcp.example.org; new: gpu1, gpu2, gpu3",
        "info nodes[0] 3 names by DNS, _x._tcp.example.org; new: gpu4; no longer listed: gpu2; these are removed when "
        "they no longer answer, or in 15 min",
        "warning nodes[0] not read by DNS, _x._tcp.example.org, the 3 names of 0 s ago stay: no server",
        "info nodes[0] read again by DNS, _x._tcp.example.org: 3 names",
        "warning nodes[0] DNS, _x._tcp.example.org lists no name where there were 3: doubted until it says so twice",
    ]
    assert kept_lists(msgspec.to_builtins(saved[STATE]))["DNS, _x._tcp.example.org"].names == ("gpu1", "gpu3", "gpu4")
    (now,) = lists.now()
    assert (now.nodes, now.source, now.error, now.doubt) == (4, "DNS, _x._tcp.example.org", "", "")


def test_a_gateway_starts_with_the_names_of_the_one_before_and_says_how_old_they_are() -> None:
    kept = {"DNS, _x._tcp.example.org": KeptList(("gpu1", "gpu2"), 1000.0), "other": KeptList(("x",), 0.0)}
    lists, told, _ = lists_of(DNS, kept=kept)
    assert lists.names == ("gpu1", "gpu2")
    assert (lists.now()[0].read_utc_s, lists.now()[0].note) == (1000.0, "kept from before the start")
    lists.take(answer(error="DNS server 192.0.2.1 did not answer"))
    assert (lists.names, told[0].partition(" ago stay: ")[2]) == (
        ("gpu1", "gpu2"), "DNS server 192.0.2.1 did not answer",
    )  # fmt: skip
    assert lists_of(DNS)[0].now()[0].note == "not read yet"


def test_names_that_cannot_be_nodes_are_left_out_and_told() -> None:
    lists, told, _ = lists_of({"names": ["Login1"], "source": "exporters", "exporters": PAGES}, DNS)
    many = [f"n{number}" for number in range(1100)]
    lists.take(ListAnswer(1, ("gpu/1", "x" * 64, "LOGIN1", "PCS1", "gpu-01", "gpu1", *many)))
    assert len(lists.names) == 1024 - 2  # two have a [[node]] of their own
    assert lists.names[:3] == ("Login1", "gpu1", "n0")
    note = lists.now()[0].note
    assert f"not used: gpu/1, {'x' * 64}: not 1..63 letters" in note
    assert "not used: LOGIN1, PCS1, gpu-01: the id of another device or node" in note
    assert "and 75 more: a site has at most 1024 nodes" in note
    assert [text.partition(";")[0] for text in told] == [
        "info nodes[1] 1104 names by DNS, _x._tcp.example.org",
        "warning nodes[1] " + note.partition(";")[0],
    ]
    lists.take(ListAnswer(1, ("gpu/1", "x" * 64, "LOGIN1", "PCS1", "gpu-01", "gpu1", *many)))
    assert len(told) == 2


def test_names_that_the_group_has_anyway_are_not_new() -> None:
    lists, told, _ = lists_of(DNS | {"names": ["Login1"]})
    assert ids(lists.take(answer("login1", "gpu1"))) == (["gpu1"], ())
    lists.take(answer("login1", "gpu1", "bad/1"))
    lists.take(answer("login1", "gpu1"))
    assert told == [
        "info nodes[0] 1 name by DNS, _x._tcp.example.org; new: gpu1",
        "warning nodes[0] not used: bad/1: not 1..63 letters, digits, dots, dashes, underscores",
    ]
    assert lists.now()[0].note == ""


def test_a_file_that_is_not_there_at_the_start_leaves_the_names_of_before() -> None:
    group = {"names_file": "none.txt", "source": "exporters", "exporters": PAGES}
    lists, _, saved = lists_of(group, kept={"the file none.txt": KeptList(("gpu1", "gpu2"), 1000.0)})
    assert (lists.names, lists.now()[0].read_utc_s) == (("gpu1", "gpu2"), 1000.0)
    lists.take(answer("gpu1", "gpu2", "gpu3"))
    assert kept_lists(saved[STATE])["the file none.txt"].names == ("gpu1", "gpu2", "gpu3")


def test_a_node_that_moves_to_another_group_is_read_as_that_one_says() -> None:
    lists, _, _ = lists_of(DNS | {"names_dns": ["a.example"]}, DNS | {"exporters": ["http://{name}:9400/metrics"]})
    lists.take(ListAnswer(0, ("gpu1", "gpu2", "gpu3")))
    assert ids(lists.take(ListAnswer(1, ("gpu1",)))) == ([], ())
    lists.take(ListAnswer(0, ("gpu2", "gpu3")))
    change = lists.expire(("gpu1",))
    assert (ids(change), change.added[0].exporters) == ((["gpu1"], ("gpu1",)), ("http://gpu1:9400/metrics",))
    assert lists.names_of(1) == ("gpu1",)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"sinfo": ["sinfo"]}, "nodes[0].sinfo", "one of names_dns and sinfo: use a [[nodes]] for each"),
        ({"partition": "gpu"}, "nodes[0].partition", "no such key, or sinfo"),
        ({"names_dns": [], "names": ["a"], "dns_server": "192.0.2.1"}, "nodes[0].dns_server", "or names_dns"),
        ({"dns_server": "ns.example.org"}, "nodes[0].dns_server", "an address such as 192.0.2.1"),
        ({"dns_server": "192.0.2.1:x"}, "nodes[0].dns_server", "an address such as 192.0.2.1"),
        ({"names_dns": ["a b"]}, "nodes[0].names_dns", "names such as _node-exporter._tcp.example.org"),
        ({"names_dns": []}, "nodes[0].names", "at least one name"),
        ({"names": ["a", "A"]}, "nodes[0].names", "A is there twice"),
        ({"names": ["PCS1"]}, "nodes[0].names", "an id of its own; pcs[0] has it already"),
    ],
)
def test_mistakes_in_the_keys_of_a_list(changes: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(Exception, match="nodes") as found:
        compose(Path("x.toml"), deepcopy(SITE) | {"nodes": [DNS | changes]})
    assert f"{key} " in str(found.value).replace(":", " ")
    assert expected in str(found.value)


# ── in a gateway ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_node_is_read_without_a_restart_and_one_that_vanishes_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.node_polling.ROUND_S", 0.1)
    monkeypatch.setattr("gateway.shown_nodes.ROUND_S", 0.1)
    monkeypatch.setattr("gateway.list_asking._pause_s", lambda group: 0.2)
    names = tmp_path / "nodes.txt"
    names.write_text("gpu[1-3]\n")
    async with HttpServer({f"/gpu{n}": node_exporter(f"gpu{n}") for n in range(1, 5)}) as server:  # type: ignore[arg-type]
        group = {"names_file": names.name, "source": "exporters", "exporters": [server.url("/{name}")], "period_s": 0.2}
        site = compose(tmp_path / "site.toml", deepcopy(SITE) | {"node": [], "nodes": [group]})
        events, known = Events(), list[list[str]]()
        grid = [d for d in Devices().drivers() if d.kind != "node"]
        io = DeviceIo(
            site, SystemClock(), grid, events, KnownGpus(), start_reader=in_this_loop,
            on_nodes=lambda nodes: known.append([node.id for node in nodes]),
        )  # fmt: skip

        def read() -> list[str]:
            return [node.id for node in io.snapshot(1).nodes if node.memory_pct.good is not None]

        await io.first_contact()
        async with reading(io):
            await until(lambda: read() == ["gpu1", "gpu2", "gpu3"])
            names.write_text("gpu[2-4]\n")
            await until(lambda: read() == ["gpu2", "gpu3", "gpu4", "gpu1"])
            assert [one.leaving for one in io.lists.now()] == [("gpu1",)]
            del server.pages["/gpu1"]
            loop = asyncio.get_running_loop()
            real_s = loop.time
            (gpu1,) = (d for d in io.snapshot(2).devices if d.id == "gpu1")
            reads = io.reads
            monkeypatch.setattr(loop, "time", lambda: real_s() + 300.0)  # longer than what was read of it counts
            await until(lambda: [node.id for node in io.snapshot(3).nodes] == ["gpu2", "gpu3", "gpu4"])
            await until(lambda: read() == ["gpu2", "gpu3", "gpu4"])
            assert gpu1.online
            assert io.reads >= reads  # those of the node that is gone stay counted
            assert not any("gpu1 lost" in text for text in events.texts)
            assert known == [["gpu2", "gpu3", "gpu4", "gpu1"], ["gpu2", "gpu3", "gpu4"]]
            names.unlink()
            await until(lambda: any("No such file" in text for text in events.texts))
            assert len(io.lists.names) == 3
