"""What the controller remembers is saved every half minute, and at once when a killed gateway must not lose it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_gateway import small_site

from dispatch.control.controller import Controller
from gateway import controller_memory
from gateway.controller_memory import STATE, ControllerMemorySaver


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
