"""Jobs of a real Slurm wait for power before they get nodes, and no longer than the gateway lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import small_gateway
from slurm_cluster import LICENCES, POWER, Cluster
from small_gateway import Devices, Running, running
from waiting import LIMIT_S, until

from dispatch.planning import start_allowance
from drivers.schedulers import slurm_licences
from gateway import job_starts

LASTS_S = 15  # of a reservation; Slurm forgets one a few seconds later
NAME = "skerry-small"


@pytest.fixture
def slurm_with_power(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Slurm with licences of 10 kW; a gateway looks several times a second. No job is left at the end."""
    (slurm.place / "hooks" / "slurm.env").write_text("SKERRY=/bin/true\n")
    (slurm.place / "skerry_power.conf").write_text(POWER)
    monkeypatch.setattr(job_starts, "LOOK_S", 0.3)
    monkeypatch.setattr(job_starts, "OBSERVE_S", 0.1)
    monkeypatch.setattr(start_allowance, "SETTLES_S", 1.0)
    monkeypatch.setattr(slurm_licences, "LASTS_S", LASTS_S)
    yield slurm
    slurm.try_call("scancel", "--user=root")
    slurm.wait(lambda: slurm.call("squeue", "-h") == "")
    slurm.try_call("scontrol", "delete", f"ReservationName={NAME}")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the load of a site with 30 kW of contract and a battery at its reserve, kW."""
    return lambda kw: monkeypatch.setattr(small_gateway, "LOAD_W", 1000 * kw)


@contextlib.asynccontextmanager
async def gateway(cluster: Cluster, place: Path, **more: Any) -> AsyncIterator[Running]:
    """A gateway that lets jobs start; at its end it is as one that was killed: it gives nothing back."""
    conf = f"SLURM_CONF={cluster.place / 'slurm.conf'}"
    scheduler = {"id": "alpha", "kind": "slurm", "squeue": ["env", conf, "squeue"], "admit": True}
    scheduler |= {"scontrol": ["env", conf, "scontrol"], "admit_for_h": 1.0} | more
    await asyncio.to_thread(place.mkdir)
    async with running(place, place / "s.sock", devices=Devices(soc_pct=10.0), scheduler=[scheduler]) as there:
        yield there


async def reserved(cluster: Cluster, least: int, most: int = LICENCES) -> None:
    """Once so many licences are kept back."""

    def kept() -> int:
        text = cluster.try_call("scontrol", "show", "reservations", "--oneliner").stdout
        return slurm_licences.held_in(text, "skerry_kw10", NAME).ours or 0

    await until_said(cluster, lambda: least <= kept() <= most)


async def until_said(cluster: Cluster, condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Until Slurm says so."""
    async with asyncio.timeout(limit_s):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  there is no event
            await asyncio.sleep(0.2)


async def in_state(cluster: Cluster, job: str, state: str, limit_s: float = LIMIT_S) -> None:
    await until_said(cluster, lambda: cluster.state(job) == state, limit_s)


async def submitted(cluster: Cluster, *options: str) -> str:
    return await asyncio.to_thread(lambda: cluster.submit(*options))


async def waits(cluster: Cluster, job: str) -> None:
    """Once a job waits, and Slurm says for what."""
    await until_said(cluster, lambda: (cluster.state(job), cluster.reason(job)) == ("PENDING", "Licenses"))


async def test_a_job_waits_for_its_power_and_starts_when_it_is_there(
    slurm_with_power: Cluster, place: Path, load: Callable[[float], None]
) -> None:
    cluster = slurm_with_power
    load(20.0)
    async with gateway(cluster, place / "a") as there:
        first = await submitted(cluster, "--gpus=2", "--nodes=1")
        await in_state(cluster, first, "RUNNING")
        load(29.5)
        await reserved(cluster, LICENCES - 24 - 5, LICENCES - 24)
        second = await submitted(cluster, "--gpus=1")
        await waits(cluster, second)
        array = await submitted(cluster, "--array=1-3", "--gpus=1")
        small = await submitted(cluster, "--licenses=matlab", "--ntasks=1")  # 50 W are there: but it has its turn
        await waits(cluster, second)
        nodes = cluster.call("squeue", "-h", "-t", "PENDING", "-o", "%N").split()
        assert nodes == [], "no node is held by jobs that wait"
        load(20.0)
        await in_state(cluster, second, "RUNNING")
        await in_state(cluster, small, "RUNNING")
        await until_said(cluster, lambda: cluster.try_call("squeue", "-h", "-r", "-j", array).stdout.count(" R ") == 1)
        told = [event.text for event in there.events if event.subject == "job starts of alpha"]
        assert any("are kept back from jobs: " in text for text in told), told
        assert told[-1] == "nothing is kept back from jobs any more"


async def test_a_killed_gateways_limits_lapse_and_the_next_one_takes_them_over(
    slurm_with_power: Cluster, place: Path, load: Callable[[float], None]
) -> None:
    cluster = slurm_with_power
    load(29.9)
    async with gateway(cluster, place / "a"):
        await reserved(cluster, LICENCES - 5)
        job = await submitted(cluster, "--gpus=1")
        await waits(cluster, job)
    await asyncio.to_thread(cluster.stop_controller)
    await asyncio.to_thread(cluster.start_controller)
    await reserved(cluster, LICENCES - 5)  # a restart of slurmctld forgets nothing
    async with gateway(cluster, place / "b"):  # in time: the job goes on waiting
        await asyncio.sleep(LASTS_S)
        await reserved(cluster, LICENCES - 5)
        assert cluster.state(job) == "PENDING"
    await in_state(cluster, job, "RUNNING", limit_s=LASTS_S + LIMIT_S)  # nobody gave it back: it lapsed


async def test_a_gateway_that_stops_lets_no_jobs_in_and_others_reservations_stay(
    slurm_with_power: Cluster, place: Path, load: Callable[[float], None]
) -> None:
    cluster = slurm_with_power
    theirs = ("ReservationName=maintenance", "StartTime=now", "Duration=5", "Users=root", "Flags=ANY_NODES")
    cluster.call("scontrol", "create", "reservation", *theirs, "Licenses=skerry_kw10:30")
    load(45.0)  # above the contract: as much as Slurm takes beside it
    try:
        async with gateway(cluster, place / "a") as there:
            await reserved(cluster, LICENCES - 30, LICENCES - 30)
            job = await submitted(cluster, "--gpus=1")
            await waits(cluster, job)
            there.gateway.loop.stop()
        shown = cluster.call("scontrol", "show", "reservations")
        assert NAME in shown, "a restart would else let all jobs start that wait"
        assert "maintenance" in shown
        assert cluster.state(job) == "PENDING"
        await in_state(cluster, job, "RUNNING", limit_s=LASTS_S + LIMIT_S)
    finally:
        cluster.call("scontrol", "delete", "ReservationName=maintenance")


async def test_somebody_elses_reservation_of_our_name_stays_as_it_is(
    slurm_with_power: Cluster, place: Path, load: Callable[[float], None]
) -> None:
    cluster = slurm_with_power
    theirs = (f"ReservationName={NAME}", "StartTime=now", "Duration=60", "Users=nobody", "Nodes=a")
    cluster.call("scontrol", "create", "reservation", *theirs)
    before = cluster.call("scontrol", "show", "reservations", "--oneliner")
    load(29.9)
    async with gateway(cluster, place / "a") as there:
        await until(lambda: any("is somebody else's" in event.text for event in there.events))
        assert cluster.call("scontrol", "show", "reservations", "--oneliner") == before


async def test_a_slurm_that_is_away_is_told_and_nothing_else_happens(
    slurm_with_power: Cluster, place: Path, load: Callable[[float], None]
) -> None:
    cluster = slurm_with_power
    load(29.9)
    async with gateway(cluster, place / "a", scontrol=["env", "SLURM_CONF=/none", "scontrol"]) as there:
        await until(lambda: any("kept back from jobs cannot be changed" in event.text for event in there.events))
        job = await submitted(cluster, "--gpus=1")
        await in_state(cluster, job, "RUNNING")
