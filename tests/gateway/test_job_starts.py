"""Jobs start as far as the site has power: what a scontrol of our own is asked, and what is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from powered_site import PoweredSite
from small_gateway import running
from waiting import LIMIT_S

from dispatch.model.islanding import IslandState
from dispatch.model.jobs import StartPower
from dispatch.planning.start_allowance import SETTLES_S
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from gateway.job_starts import JobStarts

SCONTROL = """#!/bin/sh
# A scontrol that keeps its reservations in a file
cd {place} || exit
echo "$*" >> asked
test -e hang && exec sleep 600
if test -e refused; then cat refused >&2; exit 1; fi
for word; do
    case $word in ReservationName=*) name=${{word#*=}};; Licenses=*) licences=${{word#*=}};; esac
done
case $1 in
show) cat "$2";;
create | update)
    grep -v "^ReservationName=$name " reservations > others
    own="Nodes=(null) Flags=ANY_NODES Users=root"
    echo "ReservationName=$name $own Licenses=$licences State=ACTIVE" | cat others - > reservations;;
delete) grep -v "^ReservationName=$name " reservations > others; mv others reservations;;
esac
"""
OWN = "Nodes=(null) Flags=ANY_NODES Users=root"
OTHERS = "ReservationName=maintenance Licenses=skerry_kw10:50 State=ACTIVE\n"


class Cluster(PoweredSite):
    """A Slurm of 60 kW, and a site with 60 kW of contract that draws what a test says."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place = place
        self.use(0)
        (place / "reservations").write_text("")
        (place / "asked").touch()
        scontrol = place / "scontrol"
        scontrol.write_text(SCONTROL.format(place=place))
        scontrol.chmod(0o755)

    def use(self, licences: int) -> None:
        line = f"LicenseName=skerry_kw10 Total=600 Used={licences} Free={600 - licences} Reserved=0 Remote=no\n"
        (self.place / "licenses").write_text(line)

    @property
    def reservations(self) -> list[str]:
        return (self.place / "reservations").read_text().splitlines()

    def asked(self) -> list[str]:
        """What was asked since the last time, without what only reads."""
        lines = (self.place / "asked").read_text().splitlines()
        (self.place / "asked").write_text("")
        return [line for line in lines if not line.startswith("show ")]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def starts(cluster: Cluster, deadline_s: float = LIMIT_S, **more: Any) -> JobStarts:
    """A gateway's, as one that has just begun has it."""
    config = Scheduler(id="slurm", kind="slurm", scontrol=(str(cluster.place / "scontrol"),), deadline_s=deadline_s)
    return cluster.starts(config, **more)


async def settled(cluster: Cluster) -> JobStarts:
    """One that has seen for long enough which jobs have just begun."""
    made = starts(cluster)
    assert await made.look()
    cluster.mono_s += SETTLES_S
    made.observe()
    return made


def kept(cluster: Cluster) -> list[str]:
    """Our reservations."""
    return [line for line in cluster.reservations if line.startswith("ReservationName=skerry-render-farm ")]


async def test_what_is_missing_is_kept_back_renewed_and_given_back(cluster: Cluster) -> None:
    made = starts(cluster)
    assert await made.look()
    (line,) = cluster.asked()
    assert line.startswith(
        "create reservation ReservationName=skerry-render-farm Licenses=skerry_kw10:200 EndTime=now+"
    )
    assert made.kept == 200, "60 kW of licences, 60 of contract, 20 of load"
    (told,) = cluster.events
    assert told[0] == "info"
    assert told[1].startswith("20.0 kW of 60.0 kW are kept back from jobs: jobs may start with 4"), told
    assert await made.look()
    assert [line.split()[0] for line in cluster.asked()] == ["update"], "renewed"
    assert len(cluster.events) == 1, "told once"
    cluster.mono_s += SETTLES_S + 1
    cluster.load_w = 0.0
    made.observe()
    assert await made.look()
    assert cluster.asked() == ["delete ReservationName=skerry-render-farm"]
    assert (made.kept, kept(cluster), cluster.events[1]) == (0, [], ("info", "nothing is kept back from jobs any more"))
    assert await made.look()
    assert cluster.asked() == []


async def test_what_is_kept_back_free_and_held_is_shown(cluster: Cluster) -> None:
    shown = list[StartPower]()
    made = starts(cluster, on_power=lambda id, power: shown.append(power))
    cluster.use(100)
    (cluster.place / "reservations").write_text(OTHERS)
    assert await made.look()
    power = StartPower(total_w=60_000.0, held_w=10_000.0, kept_w=10_000.0, others_w=5_000.0)
    assert shown == [power]
    assert power.free_w == 35_000.0
    (cluster.place / "refused").write_text("slurmctld is away\n")
    assert not await made.look()
    assert (shown[1].free_w, "slurmctld is away" in shown[1].error) == (None, True), "it may have lapsed"


async def test_what_is_shown_as_kept_back_is_not_what_jobs_hold_anyhow(cluster: Cluster) -> None:
    """Off the grid all licences are reserved, those of running jobs, too."""
    shown = list[StartPower]()
    made = starts(cluster, on_power=lambda id, power: shown.append(power))
    cluster.use(100)
    cluster.island = IslandState.ISLANDED
    assert await made.look()
    power = shown[0]
    assert (power.free_w, power.held_w, power.kept_w, power.total_w) == (0.0, 10_000.0, 50_000.0, 60_000.0)


@pytest.mark.parametrize(
    ("config", "told"),
    [("JobSubmitPlugins = (null)", "20.0 kW are kept back in vain: slurm.conf names no JobSubmitPlugins"),
     ("JobSubmitPlugins = lua", "20.0 kW of 60.0 kW are kept back from jobs"),
     ("", "20.0 kW of 60.0 kW are kept back from jobs")],
)  # fmt: skip
async def test_jobs_are_said_to_wait_only_where_they_ask_for_their_power(
    cluster: Cluster, config: str, told: str
) -> None:
    (cluster.place / "config").write_text(config)
    made = starts(cluster)
    assert await made.look()
    assert await made.look()
    (event,) = cluster.events
    assert event[1].startswith(told)


async def test_off_the_grid_all_is_kept_back_whatever_ends(cluster: Cluster) -> None:
    cluster.island, cluster.known = IslandState.ISLANDED, False
    cluster.use(300)
    made = starts(cluster)
    assert await made.look()
    assert made.kept == 600
    assert cluster.events[-1][1] == "60.0 kW of 60.0 kW are kept back from jobs: no job starts: the site is islanded"


@pytest.mark.parametrize("unknown", ["load", "state of charge", "no tick"])
async def test_what_is_kept_back_lapses_while_the_site_is_not_known(cluster: Cluster, unknown: str) -> None:
    """Nothing is renewed, so that jobs do not wait for longer than that for a meter to be repaired."""
    made = await settled(cluster)
    cluster.asked()
    if unknown == "load":
        cluster.load_w, cluster.mono_s = None, cluster.mono_s + SETTLES_S + 1
        made.observe()
    elif unknown == "state of charge":
        cluster.known = False
    else:
        made = starts(cluster)
        made._loop = SimpleNamespace(published=None)  # type: ignore[assignment]
    assert await made.look()
    assert cluster.asked() == []
    assert cluster.events[-1][1] == "what the site can give is not known: what is kept back lapses within 5 min"


async def test_that_the_site_was_never_known_is_told(cluster: Cluster) -> None:
    cluster.known = False
    assert await starts(cluster).look()
    assert cluster.events == [("info", "what the site can give is not known: nothing is kept back from jobs")]


async def test_a_gateway_that_starts_takes_over_what_the_one_before_left(cluster: Cluster) -> None:
    """It does not know yet which jobs have just begun, and draw little so far: it keeps no less back."""
    (cluster.place / "reservations").write_text(
        f"{OTHERS}ReservationName=skerry-render-farm {OWN} Licenses=skerry_kw10:450 State=ACTIVE\n"
    )
    made = starts(cluster)
    assert await made.look()
    assert [line.split()[:3] for line in cluster.asked()] == [
        ["update", "ReservationName=skerry-render-farm", "Licenses=skerry_kw10:450"]
    ]
    cluster.mono_s += SETTLES_S
    made.observe()
    assert await made.look()
    assert made.kept == 200
    assert OTHERS.strip() in cluster.reservations


async def test_reservations_of_others_stay_and_count(cluster: Cluster) -> None:
    (cluster.place / "reservations").write_text(OTHERS)
    cluster.island = IslandState.OPENING
    made = await settled(cluster)
    assert made.kept == 550, "more, and Slurm would refuse it"
    assert OTHERS.strip() in cluster.reservations
    assert all("maintenance" not in line for line in cluster.asked())


@pytest.mark.parametrize("load_w", [20_000.0, 0.0])
async def test_a_reservation_of_the_same_name_that_is_somebody_elses_stays(cluster: Cluster, load_w: float) -> None:
    """It was shortened to five minutes and, with power for all, deleted."""
    theirs = "ReservationName=skerry-render-farm Nodes=a Flags=SPEC_NODES Users=ann Licenses=(null) State=ACTIVE"
    (cluster.place / "reservations").write_text(f"{theirs}\n")
    cluster.load_w = load_w
    made = starts(cluster)
    for _ in range(2):
        assert not await made.look()
    assert cluster.asked() == []
    assert cluster.reservations == [theirs]
    ((severity, text),) = cluster.events
    assert severity == "warning"
    assert "the reservation skerry-render-farm is somebody else's (Nodes=a Users=ann Licenses=(null))" in text


async def test_two_gateways_that_change_one_reservation_are_told(cluster: Cluster) -> None:
    """A copy of a site file is enough for that."""
    made = await settled(cluster)
    assert await made.look()
    told = len(cluster.events)
    (cluster.place / "reservations").write_text(
        f"ReservationName=skerry-render-farm {OWN} Licenses=skerry_kw10:7 State=ACTIVE\n"
    )
    assert await made.look()
    ((severity, text),) = cluster.events[told:]
    assert (severity, "changed by another: 7 licences, 200 were set" in text) == ("warning", True), text
    assert await made.look()
    assert len(cluster.events) == told + 1


async def test_what_slurm_refuses_is_told_once_and_when_it_is_over(cluster: Cluster) -> None:
    made = starts(cluster)
    refused = cluster.place / "refused"
    refused.write_text("Error creating the reservation: Access/permission denied\n")
    for _ in range(2):
        assert not await made.look()
    ((severity, text),) = cluster.events
    assert severity == "warning"
    assert text.startswith("what is kept back from jobs cannot be changed (what is kept back lapses within 5 min): ")
    assert text.endswith("Access/permission denied"), text
    refused.unlink()
    assert await made.look()
    assert cluster.events[-1] == ("info", "what is kept back from jobs can be changed again")
    (cluster.place / "licenses").write_text("LicenseName=matlab Total=5 Used=0 Free=5 Reserved=0 Remote=no\n")
    assert not await made.look()
    assert "Slurm has no license skerry_kw10: add it to Licenses= of slurm.conf" in cluster.events[-1][1]


async def test_a_scontrol_that_hangs_is_ended_and_tried_again(cluster: Cluster) -> None:
    made = starts(cluster, deadline_s=0.5)
    (cluster.place / "hang").touch()
    assert not await made.look()
    assert "no whole answer within 0.5 s" in cluster.events[-1][1]
    (cluster.place / "hang").unlink()
    made = starts(cluster)
    assert await made.look()


async def test_looks_come_one_after_the_other_and_later_while_they_fail(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, now_s, looked_s, outcomes = starts(cluster), [0.0], list[float](), [True, False, False, False, True]

    async def look() -> bool:
        looked_s.append(now_s[0])
        if not outcomes:
            raise EOFError
        return outcomes.pop(0)

    async def sleep(for_s: float) -> None:
        now_s[0] += for_s

    monkeypatch.setattr(made, "look", look)
    clock = SimpleNamespace(time=lambda: now_s[0])
    monkeypatch.setattr("gateway.job_starts.asyncio", SimpleNamespace(sleep=sleep, get_running_loop=lambda: clock))
    with pytest.raises(EOFError):
        await made.run()
    assert looked_s == [30.0, 60.0, 90.0, 150.0, 270.0, 300.0]


async def test_when_the_grid_fails_or_returns_it_is_looked_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that wait could start on the battery for up to half a minute, or two after failures."""
    made, now_s, looked_s = starts(cluster), [0.0], list[float]()
    look = made.look

    async def looked() -> bool:
        looked_s.append(now_s[0])
        return await look()

    async def sleep(for_s: float) -> None:
        now_s[0] += for_s
        cluster.island = IslandState.ISLANDED if 40 <= now_s[0] < 75 else IslandState.GRID_TIED
        if now_s[0] > 100:
            raise EOFError

    async def said(*_: object) -> str:
        raise QueueNotRead("away")

    monkeypatch.setattr(made, "look", looked)
    monkeypatch.setattr(made._holder, "look", said)
    clock = SimpleNamespace(time=lambda: now_s[0])
    monkeypatch.setattr("gateway.job_starts.asyncio", SimpleNamespace(sleep=sleep, get_running_loop=lambda: clock))
    with pytest.raises(EOFError):
        await made.run()
    assert looked_s == [30.0, 40.0, 75.0]


async def test_nothing_of_it_runs_unless_the_site_file_says_so(place: Path) -> None:
    for more, count in (({}, 0), ({"admit": True, "scontrol": ["/none"]}, 1)):
        scheduler = {"id": "slurm", "kind": "slurm", "squeue": ["/none"]} | more
        async with running(place / str(count), place / f"{count}.sock", scheduler=[scheduler]) as there:
            assert len(there.gateway.job_starts) == count
            assert sum(name.startswith("job starts") for name, _ in there.gateway.background) == count
