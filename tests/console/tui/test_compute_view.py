"""The GPUs of a node as drawn: limits set and enforced, GPUs that do not answer, the node's note."""

from __future__ import annotations

import msgspec
import pytest
import scenes

from console.display.node_list_text import list_line
from console.display.queue_text import job_line, power_text
from console.display.ups_text import ups_texts
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.compute import ORDERS, Compute, draw_ups, gpu_cell, in_order
from dispatch.accounting.records import JobRecord
from dispatch.model.equipment import Gpu, Node, NodePower, Ups
from dispatch.model.jobs import QueueNow, RunningJob, StartPower
from dispatch.model.node_lists import NodeListNow
from dispatch.model.readings import Quality, Reading, Status, reading, status
from dispatch.model.reasons import Reason


def gpu(index: int = 0, w: float | None = 300.0, limit_w: float = 500.0, enforced_w: float = 500.0) -> Gpu:
    return Gpu(
        index,
        "H200",
        w=reading(w),
        limit_w=reading(limit_w),
        util_pct=reading(98.0),
        temp_c=reading(55.0),
        uuid="GPU-5f1c2a3b-0d4e",
        enforced_w=reading(enforced_w),
    )


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (gpu(), " 0  300/500 W    98 %  55 °C"),
        (gpu(enforced_w=400.0), " 0  300/400 W set 500  98 %  55 °C"),
        (gpu(3, 1200.0, 1400.0, 1000.0), " 3 1200/1000 W set 1400  98 %  55 °C"),
        (gpu(w=None), " 0    —/500 W    98 %  55 °C"),
        (Gpu(3, "H200", uuid="GPU-5f1c2a3b-0d4e"), " 3    — W  GPU-5f1c2a3b does not answer"),
        (Gpu(11, ""), "11    — W  it does not answer"),
    ],
)
def test_a_gpu(shown: Gpu, line: str) -> None:
    canvas = Canvas(80, 1)
    gpu_cell(canvas, 0, 0, shown)
    assert "".join(canvas.text[0]).rstrip() == line
    assert len(line) < 40, "two to a row of 80 columns"


def test_what_is_wrong_stands_above_the_gpus() -> None:
    canvas = Canvas(80, 3)
    node = Node("gpu-01", w=Reading(), gpus=(gpu(), Gpu(1, "")), note="GPU 1: GPU is lost; " + "x" * 80)
    Compute.detail(object.__new__(Compute), canvas, 0, node, Model())
    assert "".join(canvas.text[0]).startswith(" GPUs of gpu-01  GPU 1: GPU is lost; xxx")
    assert "1    — W  it does not answer" in "".join(canvas.text[1])


@pytest.mark.parametrize(
    ("ups", "line"),
    [
        (
            Ups("ups1", status("OL CHRG"), reading(1_230.0), reading(41.0), reading(97.0), reading(1_680.0)),
            "ups1 on line, charging · battery 97 % · 28 min by its own estimate · 1.2 kW · load 41 %",
        ),
        (Ups("ups1", status("OB LB"), charge_pct=reading(9.0)), "ups1 ON BATTERY, BATTERY LOW · battery 9 %"),
        (Ups("ups1", Status("OL", 75.0, Quality.STALE)), "ups1 on line 75s ago"),
        (Ups("ups1", status("OL ECO")), "ups1 on line, ECO"),
        (Ups("ups1"), "ups1 status not known"),
    ],
)
def test_a_ups(ups: Ups, line: str) -> None:
    assert " · ".join(ups_texts(ups)) == line
    canvas = Canvas(80, 2)
    draw_ups(canvas, 0, ups)
    Compute.detail(object.__new__(Compute), canvas, 1, ups, None)  # type: ignore[arg-type]
    row, detail = ("".join(text).rstrip() for text in canvas.text)
    assert row.startswith(" ups1 ")
    assert " UPS " in row
    assert detail.strip() == line[:78] or detail.strip().startswith(line[:70])


def node(id: str, w: float | None, *gpus: Gpu) -> Node:
    return Node(id, w=reading(w), gpus=gpus)


def test_nodes_by_power_lost_first_and_by_name() -> None:
    nodes = [node("b", 500.0), node("c", None), node("a", 900.0), node("d", 800.0, Gpu(0, "lost"))]
    assert ["".join(n.id for n in in_order(nodes, order)) for order in ORDERS] == ["bcad", "adbc", "cdba", "abcd"]
    assert list(ORDERS) == ["site_file", "power", "lost", "name"]


def test_each_power_says_how_it_was_got_and_how_old_it_is() -> None:
    powers = (
        NodePower("2 outlets", Reading(), 10.0),
        NodePower("RAPL + 8 GPUs (dcgm-exporter)", Reading(2410.0, 12.0, Quality.GOOD), 30.0),
        NodePower("estimate by CPU use + 8 GPUs (dcgm-exporter)", Reading(2500.0, 95.0, Quality.STALE), 30.0),
    )
    shown = Node("gpu01", w=powers[1].w, source=powers[1].source, gpus=(gpu(),), gpus_total=1, powers=powers)
    canvas = Canvas(80, 6)
    Compute.detail(object.__new__(Compute), canvas, 0, shown, Model())
    lines = ["".join(row).rstrip() for row in canvas.text]
    assert lines[2:5] == [
        "       — kW  2 outlets, measured every 10 s, not known",
        " →   2.4 kW  RAPL + 8 GPUs (dcgm-exporter), measured every 30 s, 12s old",
        "     2.5 kW  estimate by CPU use + 8 GPUs (dcgm-exporter), measured every 30 s…",
    ]


def with_queue(
    *jobs: RunningJob,
    error: str = "",
    height: int = 9,
    drawn: tuple[JobRecord, ...] = (),
    power: StartPower | None = None,
    lists: tuple[NodeListNow, ...] = (),
) -> list[str]:
    read = {"running": len(jobs), "waiting": 7, "read_utc_s": 1.0, "age_s": 22.0}
    queue = msgspec.convert({"scheduler": "alpha"} | read, QueueNow)
    queue = msgspec.structs.replace(queue, error=error, jobs=jobs, power=power)
    nodes = (Node("gpu01", gpus=(gpu(),), gpus_total=1), Node("gpu02"))
    recorded = scenes.read("calm")
    snapshot = msgspec.structs.replace(recorded.published.snapshot, utc_s=3_600.0, nodes=nodes, ups=())
    published = msgspec.structs.replace(recorded.published, snapshot=snapshot, queues=(queue,), node_lists=lists)
    canvas, view = Canvas(80, height), Compute()
    view.model = received(Model(welcome=recorded.welcome, drawn=drawn), published)
    view.paint(canvas, view.model)
    return canvas.lines()


def test_the_jobs_of_the_selected_node_stand_below_its_gpus_and_the_queue_in_the_last_line() -> None:
    job = RunningJob("50_7", "train", "ann", "running", 2, 8, 0.0, ("gpu01.example", "gpu01"))
    other = RunningJob("51", "other", "bob", "running", 2, 8, 0.0, ("gpu02",))
    lines = with_queue(job, other)
    assert " job 50_7  train  ann  2 GPUs  2 nodes  for 1 h 00" in [line.rstrip() for line in lines]
    assert not any("bob" in line for line in lines)
    assert lines[-1].rstrip() == " alpha: 2 running, 7 waiting, 22s old"
    assert any(line.rstrip() == " no job" for line in with_queue())
    assert with_queue(error="exit code 1: slurm is down")[-1].startswith(
        " alpha: 0 running, 7 waiting, 22s old, NOT READ: exit code 1: slurm is down"
    )


def test_what_an_owner_is_told_stands_below_the_job_and_what_is_kept_back_below_the_queue() -> None:
    note = Reason("told.start_unknown")
    job = RunningJob("50_7", "train", "ann", "running", 2, 8, 0.0, ("gpu01",), note)
    power = StartPower(total_w=60_000.0, held_w=10_000.0, kept_w=20_000.0)
    lines = [line.rstrip() for line in with_queue(job, power=power, height=12)]
    at = next(n for n, line in enumerate(lines) if line.startswith(" job 50_7"))
    assert lines[at + 1] == "     when it starts is not known"
    assert lines[-1].startswith(" alpha: 30.0 kW free for jobs, held 10.0 kW, kept back 20.0 kW, of 60.0 kW")
    assert power_text(msgspec.structs.replace(power, error="away")).endswith("of 60.0 kW; NOT RENEWED: away")
    assert power_text(StartPower()) == "power of jobs not known yet"
    assert power_text(StartPower(error="away")) == "power of jobs not known: away"


def test_a_job_shows_what_it_has_drawn_where_this_user_may_see_that() -> None:
    job = RunningJob("50_7", "train", "ann", "running", 2, 8, None, ("gpu01",))
    mine = JobRecord(scheduler="alpha", id="50_7", started_utc_s=0.0, user="ann", gpu_wh=2500.0, gpu_how="measured")
    mine = msgspec.structs.replace(mine, covered_pct=80.0, cost_eur=0.5)
    assert job_line(job, None, [mine]) == ("50_7  train  ann  2 GPUs  2.50 kWh, 0.50 EUR, measured, 80 % seen")
    for other in ({"user": "bob"}, {"id": "50_8"}, {"ended_utc_s": 1.0}):
        assert "kWh" not in job_line(job, None, [msgspec.structs.replace(mine, **other)])
    lines = [line.strip() for line in with_queue(job, drawn=(mine,))]
    assert "job 50_7  train  ann  2 GPUs  2.50 kWh, 0.50 EUR, measured, 80 % seen" in lines


def test_more_jobs_than_fit_are_counted() -> None:
    jobs = [RunningJob(str(n), "n", "ann", "running", 0, 1, None, ("gpu01",)) for n in range(9)]
    lines = [line.strip() for line in with_queue(*jobs, height=12)]
    shown = [line for line in lines if line.startswith("job ")]
    assert f"{9 - len(shown)} more jobs: skerry queue --node gpu01" in lines
    assert shown[0] == "job 0  n  ann  1 CPU"


def test_a_job_of_which_no_cpus_are_told_shows_none() -> None:
    lines = with_queue(RunningJob("7", "n", "ann", "running", 0, 0, None, ("gpu01",)))
    assert "job 7  n  ann" in [line.strip() for line in lines]


def test_a_list_of_nodes_shows_where_it_comes_from_and_what_is_wrong() -> None:
    listed = NodeListNow(
        group="nodes[0]", source="DNS, _x._tcp", nodes=3, read_utc_s=-60.0, doubt="lists no name where there were 3",
        changed="new: gpu9", changed_utc_s=-120.0, leaving=("gpu8",),
    )  # fmt: skip
    shown = "nodes[0]: 3 nodes by DNS, _x._tcp, read 1 min ago; lists no name where there were 3; 2 min ago new: gpu9"
    assert list_line(listed, 0.0) == f"{shown}; to be removed: gpu8"
    assert list_line(
        msgspec.structs.replace(listed, read_utc_s=None, doubt="", changed="", leaving=(), error="x"), 0.0
    ).endswith("not read yet; NOT READ: x")
    lines = with_queue(lists=(listed,))
    assert lines[-2].startswith(" alpha: 0 running")
    assert lines[-1].startswith(" nodes[0]: 3 nodes by DNS, _x._tcp, read 1 h 01 ago; lists no name")
    jobs = [RunningJob(str(n), "n", "ann", "running", 0, 1, None, ("gpu01",)) for n in range(9)]
    lines = with_queue(*jobs, lists=(listed,), height=12)
    hidden = 9 - sum(line.startswith(" job ") for line in lines)
    assert lines[-3].strip() == f"{hidden} more jobs: skerry queue --node gpu01", "no job lies below the last lines"
