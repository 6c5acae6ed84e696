"""What the controller remembers is saved every half minute, and at once when a killed gateway must not lose it."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from small_gateway import small_site
from waiting import LIMIT_S

from dispatch.billing.billing_memory import Billing
from dispatch.config.contact_terms import ContactTerms
from dispatch.control.contact_states import ContactStates
from dispatch.control.controller import Controller, ControllerMemory
from dispatch.power_caps.cap_controller import CapsMemory
from drivers.clock import SystemClock
from gateway import bootstrap, controller_memory
from gateway.controller_memory import STATE, ControllerMemorySaver, MemoryNotRead, latch_contacts, read_memory
from storage.ballast import Ballast
from storage.config import StorageConfig
from storage.reader import Archive, NoRecords, QueryTimeout, RecordDamaged
from storage.recorder import Recorder


class Record:
    """Counts what is saved and flushed."""

    def __init__(self) -> None:
        self.saved: list[str] = []
        self.flushed = 0

    def save_state(self, key: str, value: Any) -> None:
        self.saved.append(key)

    def flush(self) -> None:
        self.flushed += 1


def test_saved_after_its_period_and_at_once_when_a_node_is_capped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(controller_memory, "time", SimpleNamespace(monotonic=lambda: now_s))
    controller: Any = Controller(small_site(tmp_path).dispatch)
    record: Any = Record()
    saver = ControllerMemorySaver(controller, record)
    saver.after_tick(1)
    assert (record.saved, record.flushed) == ([STATE], 0), "the first tick saves"
    for ticks in range(2, 20):
        saver.after_tick(ticks)
    assert len(record.saved) == 1
    now_s += controller_memory.PERIOD_S + 1
    saver.after_tick(20)
    assert (len(record.saved), record.flushed) == (2, 0)
    monkeypatch.setattr(type(controller.caps), "nodes", property(lambda caps: ("gpu-01",)))
    saver.after_tick(21)
    assert (len(record.saved), record.flushed) == (3, 1), "on disk at once"
    saver.after_tick(22)
    assert (len(record.saved), record.flushed) == (3, 1)


def records_of(directory: Path) -> Recorder:
    recorder = Recorder(directory, StorageConfig(), "boot")
    assert recorder.wait_open(LIMIT_S)
    return recorder


def kept(directory: Path) -> ControllerMemory:
    memory, damage = read_memory(directory)
    assert (damage, memory is None) == ("", False)
    assert memory is not None
    return memory


LEFT = ControllerMemory(
    billing=Billing(month="2025-09", month_peak_w=27_000),
    caps=CapsMemory(nodes=("gpu-01", "gpu-02")),
    nodes={"gpu-03": ("cap_w",)},
)


async def test_a_memory_that_was_not_read_at_the_start_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk answers later: until then nothing is saved, not at the end either; then both are joined."""
    recorder = records_of(tmp_path)
    recorder.save_state(STATE, msgspec.to_builtins(LEFT))
    recorder.flush().result(LIMIT_S)
    controller: Any = Controller(small_site(tmp_path).dispatch)
    saver = ControllerMemorySaver(controller, recorder, held=True)
    saver.after_tick(1)
    saver.save()
    recorder.flush().result(LIMIT_S)
    assert kept(tmp_path) == LEFT

    tries, undone, said, adopted = 0, [], [], []

    async def adopt() -> None:
        adopted.append("the rest")

    def slow(state_dir: Path) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise MemoryNotRead("the disk does not answer")
        return read_memory(state_dir)

    monkeypatch.setattr(controller_memory, "read_memory", slow)
    monkeypatch.setattr(controller_memory, "AGAIN_S", 0.0)
    monkeypatch.setattr(type(controller.caps), "nodes", property(lambda caps: ("gpu-01",)))
    events: Any = SimpleNamespace(event=lambda *event: said.append(event))
    async with asyncio.timeout(LIMIT_S):
        await saver.recover(tmp_path, lambda: "", events, lambda *left: undone.append(left), adopt)
    assert (tries, undone, adopted) == (3, [(LEFT, ("gpu-01",))], ["the rest"])
    assert [event[:3] for event in said] == [("gateway", "info", "memory")]
    saver.after_tick(2)
    recorder.flush().result(LIMIT_S)
    assert kept(tmp_path).billing.month_peak_w == 27_000
    recorder.close()


def test_a_record_that_cannot_be_read_now_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_memory(tmp_path) == (None, "")
    assert read_memory(tmp_path / "missing") == (None, "")
    records_of(tmp_path).close()
    assert read_memory(tmp_path) == (None, "")
    for error in (QueryTimeout("slow"), NoRecords("cannot read telemetry.db: disk I/O error")):
        monkeypatch.setattr(Archive, "last_state", Mock(side_effect=error))
        with pytest.raises(MemoryNotRead, match=str(error)):
            read_memory(tmp_path)
    monkeypatch.setattr(Archive, "last_state", Mock(side_effect=RecordDamaged("a row")))
    assert read_memory(tmp_path)[1].startswith("what the controller remembered cannot be read, it starts anew")


async def test_a_row_that_nobody_foresaw_does_not_join_the_memory_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller_memory, "AGAIN_S", 0.0)
    monkeypatch.setattr(controller_memory, "read_memory", lambda _: (LEFT, ""))
    controller: Any = Mock()
    controller.caps.nodes = ("gpu-01",)
    gateway: Any = Mock()
    gateway.clock.utc_s.return_value = 1.7e9
    gateway.adopt_late.side_effect = KeyError("order_kind")
    saver = ControllerMemorySaver(controller, Mock(), held=True)
    adopt = partial(bootstrap._adopt_late, gateway, Mock(), tmp_path, "run")
    await saver.recover(tmp_path, lambda: "", Mock(), Mock(), adopt)
    controller.recover.assert_called_once_with(LEFT)
    assert not saver.held
    assert "cannot be taken over" in gateway.events.event.call_args_list[0].args[3]


def contacts_of(controller: Controller) -> None:
    """Give a controller an EPO and a step of the grid operator's."""
    terms = (
        ContactTerms(id="epo", purpose="epo"),
        ContactTerms(id="step", purpose="grid_operator", export_limit_w=0.0),
    )
    controller.contacts = ContactStates(terms)


@pytest.mark.parametrize("damaged", ["the row", "the file", "nothing"])
def test_contacts_that_protect_are_latched_where_the_memory_is_damaged(tmp_path: Path, damaged: str) -> None:
    """A row that cannot be read, or a whole file moved aside: nobody knows whether the EPO was acknowledged."""
    recorder = records_of(tmp_path)
    recorder.save_state(STATE, 7 if damaged == "the row" else msgspec.to_builtins(LEFT))
    recorder.flush().result(LIMIT_S)
    recorder.close()
    if damaged == "the file":
        (tmp_path / "telemetry.db").write_bytes(b"not SQLite" * 1000)
    recorder = records_of(tmp_path)
    dispatch = small_site(tmp_path).dispatch
    found = bootstrap._read(tmp_path, dispatch, recorder, SystemClock(), Ballast(tmp_path, 0))
    recorder.close()
    assert found.memory_lost == (damaged != "nothing")
    assert (found.memory is None) == found.memory_lost


def test_every_contact_that_protects_is_named_until_it_is_acknowledged(tmp_path: Path) -> None:
    controller = Controller(small_site(tmp_path).dispatch)
    contacts_of(controller)
    events = Mock()
    latch_contacts(controller, events)
    assert controller.contacts.latched == ("epo",)
    (said,) = events.event.call_args_list
    assert said.args[:3] == ("gateway", "alarm", "memory")
    assert "whether epo were active" in said.args[3]
