"""The adapters of render managers and Ray, run as commands against a manager on loopback.

The answers are composed from the managers' documents and schemas, as named in the adapters, and were not recorded, but
for `ray_recorded.json`: answers of Ray 2.60.0, without the fields that are not read.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import importlib.util
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from farm_manager import FarmManager, farm_manager

from dispatch.forecasting.waiting_reasons import obstacle
from dispatch.model.jobs import Job
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.reader import QueueReader

ADAPTERS = Path(__file__).resolve().parents[3] / "deploy" / "adapters"
UUID = "5f3f1a4e-0a0c-4a3b-9a52-0000000000"


@pytest.fixture
def farm() -> Iterator[FarmManager]:
    with farm_manager() as made:
        yield made


def read(farm: FarmManager, adapter: str, *more: str, deadline_s: float = 60.0) -> list[Job]:
    """What is read through an adapter."""
    command = (str(ADAPTERS / adapter), farm.url, *OPTIONS.get(adapter, ()), *more)
    reader = QueueReader(Scheduler(id="s", kind="command", command=command, deadline_s=deadline_s), Path("/"))

    async def turn() -> None:
        await asyncio.sleep(0)

    found = asyncio.run(reader.read(turn))
    assert found.asked_utc_s == pytest.approx(time.time(), abs=90)
    return list(found.jobs)


# ── OpenCue ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def cue_job(number: int, running: int = 0, waiting: int = 0, depend: int = 0, **more: Any) -> dict[str, Any]:
    """job.proto, message Job, as grpc-gateway writes it: int64 as text, enums by name."""
    stats = {"totalFrames": 100, "waitingFrames": waiting, "runningFrames": running, "dependFrames": depend}
    stats |= {"pendingFrames": waiting + depend, "reservedCores": 4.0 * running, "remainingCoreSec": "1200"}
    job = {"id": f"{UUID}{number:02}", "state": "PENDING", "name": f"film-sh{number:03}-ann_comp", "show": "film"}
    job |= {"user": "ann", "facility": "cloud", "minCores": 1.0, "maxCores": 200.0, "minGpus": 0.0, "maxGpus": 6.0}
    return job | {"isPaused": False, "startTime": 1796010000, "stopTime": 0, "jobStats": stats} | more


def cue_proc(job: dict[str, Any], host: str, cores: float, gpus: int) -> dict[str, Any]:
    """host.proto, message Proc."""
    return {
        "id": f"{host}-{cores}",
        "name": f"{host}/{cores:4.2f}/{gpus}",
        "showName": "film",
        "jobName": job["name"],
        "frameName": "0001-render",
        "bookedTime": 1796010300,
        "dispatchTime": 1796010300,
        "reservedMemory": "4194304",
        "reservedCores": cores,
        "reservedGpus": float(gpus),
        "unbooked": False,
    }


def cue(jobs: list[dict[str, Any]], procs: list[dict[str, Any]], layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "/job.JobInterface/GetJobs": {"jobs": {"jobs": jobs}},
        "/host.ProcInterface/GetProcs": {"procs": {"procs": procs}},
        "/job.JobInterface/GetLayers": {"layers": {"layers": layers}},
    }


RENDER_LAYER = {"id": "l", "name": "render", "type": "RENDER", "minCores": 4.0, "minGpus": 1.0, "maxGpus": 1.0}


def test_an_opencue_job_that_runs_and_waits_is_two_lines(farm: FarmManager) -> None:
    both, waits, paused = cue_job(1, running=3, waiting=50), cue_job(2, waiting=2), cue_job(3, waiting=9, isPaused=True)
    blocked, dead = cue_job(4, depend=8), cue_job(5)
    procs = [cue_proc(both, "rnd01", 4.0, 1), cue_proc(both, "rnd01", 4.0, 1), cue_proc(both, "rnd02.farm", 2.5, 1)]
    layer = RENDER_LAYER | {"layerStats": {"waitingFrames": 50}}
    farm.pages |= cue([both, waits, paused, blocked, dead], procs, [layer])
    runs, more, second, held, depends = read(farm, "opencue-jobs")
    assert (runs.id, runs.state, runs.name, runs.user, runs.account) == (
        both["id"],
        "running",
        "film-sh001-ann_comp",
        "ann",
        "film",
    )
    assert (runs.nodes, runs.node_count, runs.gpus, runs.cpus) == (("rnd01", "rnd02.farm"), 2, 3, 11)
    assert (runs.started_utc_s, runs.submitted_utc_s) == (None, 1796010000.0), "frames come and go: no start is told"
    assert (more.id, more.state, more.gpus) == (f"{both['id']}/waiting", "pending", 3), "6 GPUs at most, it holds 3"
    assert (second.id, second.gpus, obstacle(second.reason, start_expected=False)) == (waits["id"], 6, None)
    assert (held.reason, depends.reason) == ("JobHeldUser", "Dependency")
    assert [obstacle(job.reason, start_expected=False) for job in (held, depends)] == ["held", "dependency"]


def test_the_rest_gateway_of_opencue_gets_a_token_signed_by_its_secret(farm: FarmManager, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("default-secret-key\n")
    secret.chmod(0o600)
    farm.pages |= cue([], [], [])
    assert read(farm, "opencue-jobs", "--secret-file", str(secret)) == []
    scheme, _, token = str(farm.authorization).partition(" ")
    said, _, signature = token.rpartition(".")
    expected = hmac.new(b"default-secret-key", said.encode(), hashlib.sha256).digest()
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in said.split("."))
    assert (scheme, header["alg"], claims["sub"]) == ("Bearer", "HS256", "skerry")
    assert base64.urlsafe_b64decode(signature + "==") == expected
    assert 0 < claims["exp"] - time.time() <= 300


# ── Deadline ────────────────────────────────────────────────────────────────────────────────────────────────────────


def dl_job(number: int, rendering: int = 0, queued: int = 0, stat: int = 1, **props: Any) -> dict[str, Any]:
    """A job as /api/jobs answers it, without the fields that are not read."""
    named = {"Name": f"shot{number}", "User": "djt", "Dept": "light", "Pool": "gpu", "Tasks": 400, "MachLmt": 0}
    counts = {"CompletedChunks": 7, "QueuedChunks": queued, "RenderingChunks": rendering, "PendingChunks": 0}
    dates = {"Date": "2026-11-30T03:40:00.53+00:00", "DateStart": "2026-11-30T03:45:20.2+00:00"}
    dates |= {"DateComp": "0001-01-01T00:00:00Z"}
    return {"Props": named | {"Limits": []} | props, **counts, **dates, "Stat": stat, "_id": f"60ae9508f69e{number:05}"}


def dl_worker(host: str, stat: int, job: dict[str, Any] | None = None) -> dict[str, Any]:
    info = {"Name": host, "Host": host, "Stat": stat, "JobId": "" if job is None else job["_id"], "Procs": 64}
    return {"Info": info, "Settings": {"Name": host, "Grps": []}}


def deadline(jobs: list[dict[str, Any]], workers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"/api/jobs": jobs, "/api/slaves": workers}


def test_deadline_jobs_hold_the_workers_that_render_them(farm: FarmManager) -> None:
    both, waits, pending = dl_job(1, 2, 300), dl_job(2, queued=40, MachLmt=1), dl_job(3, stat=6)
    workers = [dl_worker("RND01", 1, both), dl_worker("RND02", 8, both), dl_worker("RND03", 2), dl_worker("RND04", 3)]
    workers.append(dl_worker("RND05", 4, both))  # stalled: it is not heard of
    farm.pages |= deadline([both, waits, pending], workers)
    runs, more, second, depends = read(farm, "deadline-jobs")
    assert (runs.nodes, runs.gpus, runs.user, runs.partition) == (("RND01", "RND02"), 4, "djt", "gpu")
    assert runs.submitted_utc_s == pytest.approx(1796010000.5, abs=0.1)
    assert (more.id, more.gpus) == (f"{both['_id']}/waiting", 2), "one of three Workers is free, with two GPUs"
    assert (second.gpus, depends.reason) == (2, "Dependency")
    assert [target for _, target in farm.asked] == ["/api/jobs?States=Active,Pending", "/api/slaves?Data=infosettings"]


def test_deadline_takes_a_user_and_a_password(farm: FarmManager, tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("skerry:s3cret")
    file.chmod(0o600)
    farm.pages |= deadline([], [])
    assert read(farm, "deadline-jobs", "--token-file", str(file)) == []
    assert farm.authorization == f"Basic {base64.b64encode(b'skerry:s3cret').decode()}"


# ── Flamenco ────────────────────────────────────────────────────────────────────────────────────────────────────────


def fl_job(number: int, status: str = "active") -> dict[str, Any]:
    """flamenco-openapi.yaml, schema Job, with all that it requires."""
    job = {"name": f"scene {number}", "type": "simple-blender-render", "priority": 50, "submitter_platform": "linux"}
    job |= {"metadata": {"user.name": "Sybren", "project": "Sprite Fright"}, "worker_tag": "gpu", "activity": ""}
    job |= {"id": f"{UUID}{number:02}", "created": "2026-11-30T04:40:00.123+01:00", "status": status}
    return job | {"updated": "2026-11-30T04:45:00Z", "steps_completed": 4, "steps_total": 20}


def fl_task(status: str, worker: str = "") -> dict[str, Any]:
    """Schema TaskSummary."""
    task = {"id": "t", "name": "render-1-3", "status": status, "index_in_job": 1, "priority": 50}
    task |= {"task_type": "blender", "updated": "2026-11-30T04:45:00Z", "steps_completed": 0, "steps_total": 3}
    return task | ({"worker": {"id": worker, "name": worker, "address": "10.0.0.7"}} if worker else {})


def flamenco(jobs: dict[int, tuple[str, list[dict[str, Any]]]], awake: int = 4) -> dict[str, Any]:
    """Schemas JobsQueryResult, JobTasksSummary and WorkerList."""
    listed = [fl_job(number, status) for number, (status, _) in jobs.items()]
    tasks = {f"/api/v3/jobs/{UUID}{number:02}/tasks": {"tasks": tasks} for number, (_, tasks) in jobs.items()}
    workers = [{"id": f"w{n}", "name": f"w{n}", "version": "3.7", "can_restart": False} for n in range(awake + 1)]
    states = ["awake"] * awake + ["asleep"]
    told = [worker | {"status": status} for worker, status in zip(workers, states, strict=True)]
    return {"/api/v3/jobs": {"jobs": listed}, "/api/v3/worker-mgt/workers": {"workers": told}, **tasks}


def test_flamenco_jobs_hold_the_workers_of_their_active_tasks(farm: FarmManager) -> None:
    active = [fl_task("active", "w0"), fl_task("active", "w1"), fl_task("completed", "w2"), *[fl_task("queued")] * 9]
    farm.pages |= flamenco(
        {
            1: ("queued", [fl_task("queued")] * 3),
            2: ("active", active),
            3: ("paused", [fl_task("paused")] * 2),
            4: ("completed", []),
            5: ("pause-requested", [fl_task("active", "w2"), fl_task("queued")]),
        }
    )
    runs, more, pausing, rest, waits, held = read(farm, "flamenco-jobs")
    assert (runs.id, runs.state, runs.nodes, runs.gpus) == (f"{UUID}02", "running", ("w0", "w1"), 4)
    assert (runs.name, runs.user, runs.account) == ("scene 2", "Sybren", "Sprite Fright")
    assert runs.submitted_utc_s == pytest.approx(1796010000.1, abs=0.1)
    assert (more.id, more.gpus) == (f"{UUID}02/waiting", 4), "of four Workers awake two are not its own, two GPUs each"
    assert (pausing.nodes, rest.reason) == (("w2",), "JobHeldUser")
    assert (waits.id, waits.gpus, held.reason) == (f"{UUID}01", 6, "JobHeldUser")


# ── Ray ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def ray_job(number: int, status: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """pydantic_models.py, JobDetails."""
    job = {"type": "SUBMISSION", "job_id": f"{number:02}000000", "submission_id": f"raysubmit_{number}"}
    job |= {"status": status, "entrypoint": "python -u /srv/train.py --key s3cret", "start_time": 1796010000123}
    return job | {"message": "Job is currently running.", "metadata": {}, "runtime_env": {}} | more


def ray_list(rows: list[dict[str, Any]], of: int | None = None) -> dict[str, Any]:
    """rest_response with a ListApiResponse."""
    counts = {"total": len(rows), "num_after_truncation": len(rows), "num_filtered": len(rows) if of is None else of}
    result = counts | {"result": rows, "partial_failure_warning": "", "warnings": None}
    return {"result": True, "msg": "", "data": {"result": result}}


def ray(jobs: list[dict[str, Any]], **lists: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = ("nodes", "placement_groups", "actors", "tasks")
    return {"/api/jobs/": jobs, **{f"/api/v0/{kind}": ray_list(lists.get(kind, [])) for kind in kinds}}


def test_ray_jobs_hold_bundles_actors_and_tasks(farm: FarmManager) -> None:
    nodes = [
        {"node_id": f"n{n}", "node_ip": f"10.0.0.{n}", "node_name": f"gpu0{n}", "state": "ALIVE"} for n in (1, 2, 3)
    ]
    bundles = [{"unit_resources": {"GPU": 2.0, "CPU": 8.0}, "node_id": f"n{n}"} for n in (1, 2)]
    group = {"placement_group_id": "p1", "creator_job_id": "01000000", "state": "CREATED", "bundles": bundles}
    wanted = {"placement_group_id": "p2", "creator_job_id": "02000000", "state": "PENDING", "bundles": bundles}
    actor = {"actor_id": "a", "job_id": "01000000", "state": "ALIVE", "node_id": "n1", "required_resources": {"GPU": 1}}
    inside = actor | {"placement_group_id": "p1"}
    alone = actor | {"placement_group_id": None, "node_id": "n3", "required_resources": {"GPU": 0.5, "CPU": 1.0}}
    task = {"task_id": "t", "job_id": "01000000", "type": "NORMAL_TASK", "placement_group_id": None}
    waits = task | {"state": "PENDING_NODE_ASSIGNMENT", "node_id": None, "required_resources": {"GPU": 1.0}}
    runs_too = task | {"state": "RUNNING", "node_id": "n3", "required_resources": {"GPU": 0.25}}
    jobs = [ray_job(1), ray_job(2, metadata={"job_name": "sweep"}), ray_job(3, "SUCCEEDED"), ray_job(4, "PENDING")]
    farm.pages |= ray(
        jobs, nodes=nodes, placement_groups=[group, wanted], actors=[inside, alone], tasks=[waits, runs_too]
    )
    runs, more, second, sweep, fourth = read(farm, "ray-jobs")
    assert (runs.id, runs.name, runs.gpus, runs.cpus) == ("raysubmit_1", "train.py", 5, 17), "4 + 0.5 + 0.25 GPUs"
    assert runs.nodes == ("gpu01", "gpu02", "gpu03")
    assert runs.started_utc_s == pytest.approx(1796010000.1, abs=0.1)
    assert (more.id, more.state, more.gpus) == ("raysubmit_1/waiting", "pending", 1)
    assert (second.gpus, second.name, sweep.gpus) == (0, "sweep", 4), "it runs and has got nothing yet"
    assert (fourth.id, fourth.state) == ("raysubmit_4", "pending")


def test_what_a_real_ray_answered(farm: FarmManager) -> None:
    """One node with 4 GPUs and 8 CPUs.

    The first job asked for a bundle of 1 GPU and an actor in it, an actor with half a GPU, four tasks with a GPU each,
    of which two ran, and a bundle of 3 GPUs. The second, the same again, waited for its first bundle.
    """
    farm.pages |= json.loads((Path(__file__).parent / "ray_recorded.json").read_text())
    second, second_waits, first, first_waits = read(farm, "ray-jobs")
    assert (first.name, first.nodes, first.gpus, first.cpus) == ("rayjob.py", ("gpu01",), 4, 4)
    assert (first_waits.gpus, first_waits.cpus) == (5, 2)
    assert (second.state, second.gpus, second_waits.gpus) == ("running", 0, 1)


def test_ray_that_tells_a_part_of_its_tasks_is_not_believed(farm: FarmManager) -> None:
    farm.pages |= ray([ray_job(1)])
    farm.pages["/api/v0/tasks"] = ray_list([{"job_id": "01000000"}], of=12_000)
    with pytest.raises(QueueNotRead, match="Ray tells 1 of 12000 tasks: set RAY_MAX_LIMIT_FROM_API_SERVER"):
        read(farm, "ray-jobs")
    farm.pages["/api/v0/tasks"] = {"result": False, "msg": "GCS is overloaded", "data": {}}
    with pytest.raises(QueueNotRead, match="Ray does not tell its tasks: GCS is overloaded"):
        read(farm, "ray-jobs")


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────

OPTIONS = {"deadline-jobs": ("--gpus-per-worker", "2"), "flamenco-jobs": ("--gpus-per-worker", "2")}
EMPTY: dict[str, dict[str, Any]] = {
    "opencue-jobs": cue([], [], []),
    "deadline-jobs": deadline([], []),
    "flamenco-jobs": flamenco({}),
    "ray-jobs": ray([]),
}
MANY: dict[str, Callable[[int], dict[str, Any]]] = {
    "opencue-jobs": lambda count: cue([cue_job(n, waiting=1) for n in range(count)], [], [RENDER_LAYER]),
    "deadline-jobs": lambda count: deadline([dl_job(n, queued=1) for n in range(count)], []),
    "flamenco-jobs": lambda count: flamenco({n: ("queued", [fl_task("queued")]) for n in range(count)}),
    "ray-jobs": lambda count: ray([ray_job(n) for n in range(count)]),
}
adapters = pytest.mark.parametrize("adapter", EMPTY)


@adapters
def test_an_empty_farm_is_an_empty_queue(farm: FarmManager, adapter: str) -> None:
    farm.pages |= EMPTY[adapter]
    assert read(farm, adapter) == []


@adapters
def test_twenty_thousand_jobs_are_read(farm: FarmManager, adapter: str) -> None:
    """And of no manager more is asked than it can answer in a period."""
    farm.pages |= MANY[adapter](20_000)
    assert len(read(farm, adapter)) == 20_000
    assert len(farm.asked) <= 202


REFUSED = "HTTP 401: the token is not accepted, or none was given: check the file that holds it"


@pytest.mark.parametrize(
    ("adapter", "status", "headers", "told"),
    [
        *((adapter, 401, {}, REFUSED) for adapter in EMPTY),
        ("ray-jobs", 403, {}, "HTTP 403: the token does not allow this"),
        ("ray-jobs", 302, {"Location": "http://x.example.org/"}, "HTTP 302: it answers with a redirection, which is"),
        ("ray-jobs", 500, {}, "HTTP 500"),
    ],
)
def test_what_the_manager_refuses_is_told(
    farm: FarmManager, adapter: str, status: int, headers: dict[str, str], told: str
) -> None:
    farm.pages |= EMPTY[adapter]
    farm.status, farm.headers = status, headers
    with pytest.raises(QueueNotRead, match="ended with exit code 1") as refused:
        read(farm, adapter)
    assert told in str(refused.value)
    assert len(farm.asked) == 1, "the first refusal ends it"


@pytest.mark.parametrize(
    ("adapter", "page", "told"),
    [
        *((adapter, b"<html><body>Log in</body></html>", "expected JSON, found '<html>") for adapter in EMPTY),
        *((adapter, b'{"jobs": 7}', "expected a list") for adapter in EMPTY),
        ("flamenco-jobs", b'{"jobs": [', "expected JSON, found"),
        ("flamenco-jobs", b"[" * 100_000, "expected JSON, found"),
        ("deadline-jobs", b'"jobs"', "expected a list"),
    ],
)
def test_what_is_no_answer_is_told(farm: FarmManager, adapter: str, page: bytes, told: str) -> None:
    farm.pages |= dict.fromkeys(EMPTY[adapter], page)
    with pytest.raises(QueueNotRead, match="ended with exit code 1") as refused:
        read(farm, adapter)
    assert told in str(refused.value)


ODD: list[Any] = [None, -1, 1e300, "text", "half \ud83d", "n" * 100_000, [], {}, True, 10**30]


@adapters
def test_odd_jobs_hide_no_other(farm: FarmManager, adapter: str) -> None:
    """Fields of the wrong kind are missing; rows that are no objects are left out."""
    farm.pages |= MANY[adapter](len(ODD) + 1)
    first: Any = next(iter(farm.pages.values()))
    while isinstance(first, dict):
        first = first["jobs"]
    kept = ("id", "_id", "submission_id", "status")
    for row, odd in zip(first, ODD, strict=False):
        row.update({key: odd for key in row if key not in kept})
    names = [row.get("id") or row.get("_id") or row.get("submission_id") for row in first]
    first.extend(ODD)
    found = {job.id for job in read(farm, adapter)}
    assert names[-1] in found
    assert found <= set(names)


def test_the_longest_id_and_name_that_a_manager_has_are_taken(farm: FarmManager) -> None:
    long = dl_job(1, 1, 9) | {"_id": "x" * 300}
    farm.pages |= deadline([long], [dl_worker("RND01", 1, long | {"_id": "x" * 200}), dl_worker("RND02", 2)])
    runs, waits = read(farm, "deadline-jobs")
    assert (runs.id, waits.id) == ("x" * 200, f"{'x' * 192}/waiting")


def test_a_manager_that_is_not_there_or_hangs(farm: FarmManager) -> None:
    farm.hangs.set()
    with pytest.raises(QueueNotRead, match=r"no whole answer within 1 s"):
        read(farm, "opencue-jobs", deadline_s=1.0)
    farm.url = "http://127.0.0.1:9"
    with pytest.raises(QueueNotRead, match="Connection refused"):
        read(farm, "flamenco-jobs")


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("t", 0o644, "every user may read it: chmod 600"),
        ("\n", 0o600, "empty; expected one line"),
        (None, 0, "No such"),
    ],
)
def test_a_token_file_that_is_not_secret_or_not_there(
    farm: FarmManager, tmp_path: Path, text: str | None, mode: int, told: str
) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    farm.pages |= EMPTY["ray-jobs"]
    with pytest.raises(QueueNotRead) as refused:
        read(farm, "ray-jobs", "--token-file", str(file))
    assert told in str(refused.value)
    assert farm.asked == []


def manager_http() -> ModuleType:
    """What the adapters share, loaded as they load it."""
    spec = importlib.util.spec_from_file_location("manager_http", ADAPTERS / "manager_http.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_answer_that_does_not_end_or_is_too_long_or_cut_off(farm: FarmManager, monkeypatch: Any) -> None:
    shared = manager_http()
    manager = shared.Manager(farm.url, None, 0.3)
    farm.pages["/x"] = b"[1, 2, 3]"
    assert manager.get("/x") == [1, 2, 3]
    farm.headers = {"Content-Length": "100"}  # more than comes
    with pytest.raises(shared.NotAnswered, match=r"no whole answer within 0\.3 s|cut off"):
        manager.get("/x")
    farm.headers = {}
    monkeypatch.setattr(shared, "MOST_BYTES", 5)
    with pytest.raises(shared.NotAnswered, match="let it list fewer jobs"):
        manager.get("/x")
    farm.hangs.set()
    with pytest.raises(shared.NotAnswered, match=r"no whole answer within 0\.3 s"):
        manager.get("/x")


def test_a_manager_that_says_a_little_again_and_again_is_left_in_time() -> None:
    """A command that waits for it holds the lock of its limit, and keeps the timer from putting the limit back."""
    shared, left = manager_http(), threading.Event()

    def drip(server: socket.socket) -> None:
        said, _ = server.accept()
        with said, contextlib.suppress(OSError):
            said.sendall(b"HTTP/1.1 200 OK\r\n")
            while not left.wait(0.05):
                said.sendall(b"Server: slow\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        manager = shared.Manager(f"http://127.0.0.1:{server.getsockname()[1]}", None, 0.3)
        with pytest.raises(shared.NotAnswered, match=r"no whole answer within 0\.3 s"):
            manager.get("/x")
        left.set()
        thread.join()


@pytest.mark.parametrize("told", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "soon", None])
def test_a_time_that_cannot_be_is_none_and_costs_no_other_job(farm: FarmManager, told: str | None) -> None:
    farm.pages |= deadline([dl_job(1, queued=1) | {"Date": told}, dl_job(2, queued=1)], [])
    assert [job.submitted_utc_s > 0 for job in read(farm, "deadline-jobs")] == [False, True]
