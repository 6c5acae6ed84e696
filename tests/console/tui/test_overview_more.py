"""What a wide terminal adds to the overview: jobs, prices ahead, alarms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import scenes
from recorded_client import RecordedClient
from screen import flat

from console.display.viewmodel import Model, lost, received
from console.tui.app import SkerryApp
from console.tui.canvas import Canvas
from console.tui.overview_more import AlarmsPanel, JobsPanel, PricesPanel
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.jobs import QueueNow, RunningJob

NOW_S = scenes.read("calm").published.snapshot.utc_s


def model(**more: Any) -> Model:
    scene = scenes.read("calm")
    return received(Model(welcome=scene.welcome), msgspec.structs.replace(scene.published, **more))


def drawn(panel: Any, shown: Model, height: int) -> list[str]:
    canvas = Canvas(44, height)
    panel.paint(canvas, shown)
    return [line.rstrip() for line in canvas.lines()]


def a_job(n: int, gpus: int) -> RunningJob:
    return RunningJob(f"4{n}", f"render-{n}", "anna", "running", gpus, 8, NOW_S - 3600.0 * n, ("gpu-01",))


def test_jobs_are_counted_by_queue_and_the_largest_come_first() -> None:
    queue = QueueNow(
        scheduler="slurm", running=6, waiting=2, running_gpus=21, read_utc_s=NOW_S, age_s=1.0,
        jobs=tuple(a_job(n, n) for n in range(1, 7)),
    )  # fmt: skip
    rows = drawn(JobsPanel(), model(queues=(queue,)), 6)
    assert rows[0] == "Jobs"
    assert rows[1].startswith("slurm: 6 running on 21 GPUs, 2 waiting")
    assert "render-6  anna  6 GPU  6 h" in " | ".join(rows)
    assert rows[-1].startswith("+")
    assert drawn(JobsPanel(), model(queues=()), 6)[1] == "no scheduler in the site file"
    unread = QueueNow(scheduler="slurm", error="no answer")
    assert drawn(JobsPanel(), model(queues=(unread,)), 6)[1] == "slurm: not read: no answer"


def test_the_next_prices_and_the_most_urgent_alarms() -> None:
    rows = drawn(PricesPanel(), model(), 5)
    tariff = scenes.read("calm").published.tariff
    coming = [price for start_s, price in tariff.ahead if start_s > NOW_S][:4]
    assert [row.split()[-2] for row in rows[1:]] == [f"{100 * price:.1f}" for price in coming]
    alarms = tuple(Alarm(f"device-lost:pcs{n}", Priority.HIGH, AlarmState.UNACKNOWLEDGED, NOW_S - n) for n in range(6))
    rows = drawn(AlarmsPanel(), model(alarms=alarms), 5)
    assert rows[-1] == "+3 more: 5 lists them"
    assert all(row.startswith("▲1") for row in rows[1:4])
    assert drawn(AlarmsPanel(), model(alarms=()), 5)[1] == "none"
    old = msgspec.structs.replace(lost(model(), "gone"), age_s=100.0)
    assert all(len(drawn(panel(), old, 5)[0].split()) > 2 for panel in (AlarmsPanel, PricesPanel)), "how old it is"


async def test_they_are_there_from_176_columns_on(eventually: Callable[..., Any]) -> None:
    async def connect() -> RecordedClient:
        return RecordedClient(scenes.read("calm"))

    async with SkerryApp(connect, monotonic=lambda: 100.0).run_test(size=(200, 50)) as pilot:
        await eventually(pilot, lambda: "Prices ahead" in flat(pilot.app))
        assert "Gateway" in flat(pilot.app)
        assert "no scheduler in the site file" in flat(pilot.app)
        await pilot.resize_terminal(120, 40)
        await eventually(pilot, lambda: "Prices ahead" not in flat(pilot.app))
        assert "Gateway" in flat(pilot.app)
