"""Reads and saves what the controller remembers over a restart; what a kill must not lose is saved at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from dispatch.control.controller import Controller, ControllerMemory
from storage.reader import Archive, NoRecords, QueryTimeout, RecordDamaged
from storage.recorder import Recorder

STATE = "controller"  # the key under which the record keeps it
PERIOD_S = 30.0  # machine seconds between two saves where nothing is urgent


def read_memory(state_dir: Path) -> tuple[ControllerMemory | None, str]:
    """What was saved last, None on a new site; and why not, if it cannot be read."""
    archive = Archive(state_dir)
    try:
        state = archive.last_state(STATE)
        return None if state is None else msgspec.convert(state, ControllerMemory), ""
    except (RecordDamaged, QueryTimeout, msgspec.ValidationError) as error:
        return None, f"what the controller remembered cannot be read, it starts anew: {error}"
    except NoRecords:
        return None, ""
    finally:
        archive.close()


class ControllerMemorySaver:
    """Saves after ticks."""

    def __init__(self, controller: Controller, recorder: Recorder) -> None:
        self._controller, self._recorder = controller, recorder
        self._saved_s, self._saved = 0.0, self._urgent()

    def after_tick(self, ticks: int) -> None:
        """Save if it is time to, or if something urgent has changed; then it is on disk at once."""
        urgent = self._urgent()
        changed = urgent != self._saved
        if changed or time.monotonic() - self._saved_s > PERIOD_S:
            self._saved_s = time.monotonic()
            self.save()
        if changed:
            self._saved = urgent
            self._recorder.flush()

    def save(self) -> None:
        """Hand the memory to the recorder."""
        self._recorder.save_state(STATE, msgspec.to_builtins(self._controller.memory()))

    def _urgent(self) -> tuple[Any, ...]:
        """An islanding fault, and which nodes are capped."""
        return self._controller.island.memory(), self._controller.caps.nodes
