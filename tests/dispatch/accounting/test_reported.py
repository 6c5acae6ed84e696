"""Progress that jobs report, beside what their GPUs draw: what it tells of each node."""

from __future__ import annotations

import pytest
from metered_site import T0, a_job

from dispatch.accounting.reported import gpus_w, kind_of, measured_curves, watch
from dispatch.accounting.runs import Run
from dispatch.model.equipment import Gpu, Node
from dispatch.model.readings import MISSING, reading
from dispatch.power_caps.progress import JobProgress


def a_run(id: str, gpus: int = 2, **more: object) -> Run:
    job = a_job(id, ["n1"], 0, gpus=gpus, name=f"train-{id}", **more)
    return Run(job, T0, T0, from_start=True)


def node(*gpus_w: float | None) -> Node:
    gpus = tuple(Gpu(n, "A100", w=MISSING if w is None else reading(w), uuid=f"G{n}") for n, w in enumerate(gpus_w))
    return Node("n1", w=reading(900.0), gpus=gpus)


def test_a_runs_power_is_that_of_its_own_gpus() -> None:
    own = a_run("1", gpu_uuids=("G1",), gpus=1)
    assert gpus_w(own, ["n1"], {"n1": node(300.0, 200.0)}) == 200.0
    assert gpus_w(a_run("1"), ["n1"], {"n1": node(300.0, 200.0)}) == 500.0, "all that there are"
    assert gpus_w(a_run("1", gpus=1), ["n1"], {"n1": node(300.0, 200.0)}) is None, "which one is not known"
    assert gpus_w(a_run("1"), ["n1"], {"n1": node(300.0, None)}) is None
    assert gpus_w(a_run("1"), ["n1"], {}) is None


def taught() -> tuple[JobProgress, Run]:
    progress, run = JobProgress(), a_run("1")
    progress.report(run.key, kind_of(run), 0.0, 0.0)
    at_s, units = 0.0, 0.0
    for capped, w, per_s in [(False, 400.0, 10.0), (True, 280.0, 9.5)] * 3:
        for _ in range(120):
            at_s, units = at_s + 1.0, units + per_s
            watch(progress, [(run, ["n1"])], {"n1": node(w, w)}, {"n1"} if capped else set(), at_s)
        progress.report(run.key, kind_of(run), units, at_s)
    return progress, run


def test_a_node_has_the_curve_of_its_jobs_where_all_were_measured() -> None:
    progress, run = taught()
    curve = measured_curves(progress, [(run, ["n1", "n2"])])["n2"]
    assert curve.slowdown(280.0, 400.0) == pytest.approx(0.05)
    unknown, plain = a_run("9", user="bert"), a_run("8", gpus=0)
    found = measured_curves(progress, [(run, ["n1", "n2"]), (unknown, ["n2"]), (plain, ["n1"])])
    assert found == {"n1": curve}, "of the other job on n2 nothing is known"
    assert measured_curves(progress, [(unknown, ["n1"]), (run, ["n1"])]) == {}


def test_a_run_that_is_over_is_not_followed() -> None:
    progress, run = taught()
    assert progress.runs == [run.key]
    watch(progress, [], {}, set(), 1e6)
    assert progress.runs == []
