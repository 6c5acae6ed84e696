"""Controller, billing and recorder under a clock that is set, against those of a right clock."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from small_site import Plant, a_snapshot, site_config
from waiting import LIMIT_S

from dispatch.control.controller import Controller
from dispatch.model.snapshot import Snapshot
from storage import schema
from storage.config import StorageConfig
from storage.reader import Archive
from storage.recorder import Recorder
from storage.samples import samples

TURN = datetime(2025, 9, 30, 22, tzinfo=UTC).timestamp()  # midnight in Berlin: September ends
BEGIN, RUN_S = TURN - 1_000.0, 2_000


class Clocked(Plant):
    """The plant, on a clock that is wrong by `ahead_s` until `until_s`."""

    def __init__(self, ahead_s: float, until_s: float) -> None:
        # 45 kW in the interval that ends the month and 40 kW in the next, of 100 kW contracted: peaks above 0
        super().__init__(Controller(site_config()), lambda t: 45_000.0 if t < 1_000 else 40_000.0, rate_hz=1.0)
        self._ahead_s, self._until_s = ahead_s, until_s

    def snapshot(self) -> Snapshot:
        ahead_s = self._ahead_s if self.t_s < self._until_s else 0.0
        return msgspec.structs.replace(super().snapshot(), utc_s=BEGIN + self.t_s + ahead_s)


def peaks(controller: Controller) -> dict[str, float]:
    billing = controller.memory().billing
    return {month: so_far.peak_w for month, so_far in billing.earlier.items()} | {billing.month: billing.month_peak_w}


@pytest.fixture(scope="module")
def right() -> Plant:
    return Clocked(0.0, 0.0).run(RUN_S)


def test_the_peaks_are_those_of_the_import(right: Plant) -> None:
    """By the plant's own import, not by what the controller counted."""
    found = peaks(right.controller)
    september = sum(right.imports[100:1_000]) / 900
    october = sum(right.imports[1_000:1_900]) / 900
    assert min(september, october) > 1_000
    assert found["2025-09"] == pytest.approx(september, rel=0.01)
    assert found["2025-10"] == pytest.approx(october, rel=0.01)


WRONG = [(86_400.0, 1_500.0), (-86_400.0, 600.0), (7_200.0, 1_200.0)]


@pytest.mark.parametrize(("ahead_s", "until_s"), WRONG if os.environ.get("SKERRY_SOAK_CLOCK") else WRONG[:1])
def test_a_wrong_clock_changes_no_setpoint_and_in_the_end_no_peak(right: Plant, ahead_s: float, until_s: float) -> None:
    plant = Clocked(ahead_s, until_s).run(RUN_S)
    for n, (own, other) in enumerate(zip(plant.powers, right.powers, strict=True)):
        assert own == pytest.approx(other, abs=300), f"second {n}"
    found, expected = peaks(plant.controller), peaks(right.controller)
    for month in expected:
        assert found[month] == pytest.approx(expected[month], rel=0.005), month
    assert all(peak_w == 0 for month, peak_w in found.items() if month not in expected)


def test_every_second_is_on_record_once_and_the_intervals_after_the_step_are_right(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, StorageConfig(), "boot")
    for n in range(RUN_S):
        snapshot = a_snapshot(float(n), 20_000.0 + n)
        recorder.put(msgspec.structs.replace(snapshot, utc_s=BEGIN + n + (3_600 if n < 1_000 else 0)), None)
        if n % 500 == 499:  # the queue holds a thousand ticks
            recorder.flush().result(LIMIT_S)
    assert recorder.close()
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as con:
        times = sorted(round(t / 1e6) for segment in samples(con, 0, 1 << 60) for t in segment.times_us())
    wrong = {round(BEGIN + n + 3_600) for n in range(1_000)}
    assert set(times) == wrong | {round(BEGIN + n) for n in range(1_000, RUN_S)}
    assert len(times) == RUN_S
    with closing(Archive(tmp_path)) as archive:
        start_s = int(TURN)
        shown = archive.history(["grid.w"], start_s, start_s + 900, 900)["signals"]["grid.w"]
    assert shown == [pytest.approx(20_000 + 1_449.5, abs=1)]
