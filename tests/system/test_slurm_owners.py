"""Owners of jobs of a real Slurm read in AdminComment for what power they wait; what others wrote stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import POWER, Cluster
from test_slurm_starts import NAME, gateway, in_state, load, submitted, until_said, waits

from dispatch.planning import owner_notes as planned
from dispatch.planning import start_allowance
from drivers.schedulers import slurm_licences
from gateway import job_starts, owner_notes, owner_telling

__all__ = ["load"]  # a fixture
LASTS_S = 15


@pytest.fixture
def slurm_with_power(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Slurm with licences of 10 kW, and a gateway that looks several times a second. No job is left at the end."""
    (slurm.place / "hooks" / "slurm.env").write_text("SKERRY=/bin/true\n")
    (slurm.place / "skerry_power.conf").write_text(POWER)
    for module, name, value in (
        (job_starts, "LOOK_S", 0.3), (job_starts, "OBSERVE_S", 0.1), (start_allowance, "SETTLES_S", 1.0),
        (slurm_licences, "LASTS_S", LASTS_S), (planned, "HOLD_S", 0.5), (owner_notes, "LOOK_S", 0.2),
        (owner_telling, "LOOK_S", 0.3), (owner_telling, "SETTLED", 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    yield slurm
    slurm.try_call("scancel", "--user=root")
    slurm.wait(lambda: slurm.call("squeue", "-h") == "")
    slurm.try_call("scontrol", "delete", f"ReservationName={NAME}")


def comments(cluster: Cluster, job: str) -> list[str]:
    """AdminComment of a job, or of each record of an array."""
    return cluster.call("squeue", "-h", "-j", job, "-O", "admin_comment:@@").replace("(null)", "").split("@@")[:-1]


def told(cluster: Cluster, job: str) -> Callable[[], bool]:
    """Whether all records of a job say for what they wait."""
    start = f"[{NAME}] waits for power: needs 1.2 kW, "
    return lambda: all(text.strip().startswith(start) for text in comments(cluster, job))


async def test_who_waits_for_power_is_told_until_the_job_starts(
    slurm_with_power: Cluster, place: Path, load: Callable[[float], None]
) -> None:
    cluster = slurm_with_power
    load(29.5)
    async with gateway(cluster, place / "a", tell_owners=True) as there:
        job = await submitted(cluster, "--gpus=1", "--comment=my own note")
        array = await submitted(cluster, "--gpus=1", "--array=1-3")
        theirs = await submitted(cluster, "--gpus=1")
        cluster.call("scontrol", "update", f"JobId={theirs}", "AdminComment=call Ann")
        await waits(cluster, job)
        for id in (job, array):
            await until_said(cluster, told(cluster, id))
        assert len(comments(cluster, array)) == 1, "its waiting tasks stay one record"
        assert comments(cluster, theirs)[0].strip() == "call Ann"
        assert "Comment=my own note" in cluster.call("scontrol", "show", "job", job)
        await until_said(cluster, lambda: cluster.reason(job) == "Licenses")  # Slurm has none for a while after it
        load(20.0)
        await in_state(cluster, job, "RUNNING")
        await until_said(cluster, lambda: comments(cluster, job)[0].strip() == "")
        assert comments(cluster, theirs)[0].strip() == "call Ann"
        assert cluster.licences(job) == "skerry_kw10:12"
        failed = [event.text for event in there.events if event.subject.startswith("owners of jobs")]
        assert failed == []


async def test_at_its_end_a_gateway_takes_its_texts_away_and_no_others(
    slurm_with_power: Cluster, place: Path, load: Callable[[float], None]
) -> None:
    cluster = slurm_with_power
    load(29.5)
    async with gateway(cluster, place / "a", tell_owners=True):
        job, theirs = [await submitted(cluster, "--gpus=1") for _ in range(2)]
        cluster.call("scontrol", "update", f"JobId={theirs}", "AdminComment=call Ann")
        await until_said(cluster, told(cluster, job))
    assert [comments(cluster, each)[0].strip() for each in (job, theirs)] == ["", "call Ann"]
