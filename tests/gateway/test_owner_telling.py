"""Owners are told through a scontrol or a command of our own: once, only where nobody else has said anything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from waiting import LIMIT_S

from dispatch.model.equipment import Gpu, Node
from dispatch.model.jobs import Job, StartPower
from dispatch.model.orders import Order, OrderKind
from dispatch.model.power_caps import CapCost, NodeCap
from dispatch.model.readings import reading
from dispatch.model.reasons import Reason
from dispatch.planning.owner_notes import HOLD_S
from dispatch.wording.catalogue import words
from drivers.schedulers.config import Scheduler
from drivers.schedulers.job_list import QueueRead
from gateway.owner_notes import OwnerNotes
from gateway.owner_telling import MOST_TEXTS, SETTLED, SlurmComments, TellCommand
from gateway.queues_in_force import QueuesInForce

NOW = 1_796_010_600.0
SQUEUE = """#!/bin/sh
# A squeue that prints jobs from a file, with the mark that it is asked for
cd {place} || exit
test -e hang && exec sleep 600
for last; do :; done
sed "s/\\$/${{last##*:}}/" jobs
"""
SCONTROL = """#!/bin/sh
cd {place} || exit
test -e hang && exec sleep 600
if test -e refused; then cat refused >&2; exit 1; fi
printf '%s|' "$@" >> asked; echo >> asked
"""
HEADER = (
    "JOBID@@ARRAY_JOB_ID@@ARRAY_TASK_ID@@HET_JOB_ID@@HET_JOB_OFFSET@@STATE@@REASON@@LICENSES@@PRIORITY@@START_TIME@@"
    "END_TIME@@NODES@@ADMIN_COMMENT"
)


def program(path: Path, text: str) -> str:
    path.write_text(text.format(place=path.parent))
    path.chmod(0o755)
    return str(path)


def line(id: str, state: str, comment: str = "(null)", licences: int = 12, reason: str = "Licenses") -> str:
    """A job that waits, or has run for ten minutes of an hour."""
    times = f"{NOW - 600:.0f}@@{NOW + 3000:.0f}" if state == "RUNNING" else "N/A@@N/A"
    array, _, tasks = id.partition("_")
    named = f"{array}@@{array}@@{tasks or 'N/A'}@@N/A@@N/A@@{state}@@{reason}"
    return f"{named}@@skerry_kw10:{licences}@@5@@{times}@@1@@{comment}"


def job(id: str, state: Any = "pending", nodes: tuple[str, ...] = (), scheduler: str = "slurm") -> Job:
    started = None if state == "pending" else NOW - 600
    return Job(
        scheduler=scheduler, id=id, user="ann", state=state, submitted_utc_s=1.0, started_utc_s=started, nodes=nodes
    )


async def at_once() -> None:
    """No tick is to be spared."""


class Site:
    """A Slurm, a farm, and what the gateway knows of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.mono_s = 0.0
        self.caps: tuple[NodeCap, ...] = ()
        self.orders: tuple[Order, ...] = ()
        self.peak: tuple[tuple[str, float], ...] = ()
        self.costs: tuple[CapCost, ...] = ()
        self.why = Reason("caps.cap")
        self.nodes = (Node("gpu01", gpus=(Gpu(0, "H200", limit_w=reading(300.0), enforced_w=reading(250.0)),)),)
        self.events = list[tuple[str, str]]()
        scontrol, squeue = program(place / "scontrol", SCONTROL), program(place / "squeue", SQUEUE)
        tell = program(place / "tell", SCONTROL)
        more: dict[str, Any] = {"deadline_s": LIMIT_S}
        self.slurm = Scheduler(
            id="slurm", kind="slurm", squeue=(squeue,), scontrol=(scontrol,), tell_owners=True, **more
        )
        self.farm = Scheduler(id="farm", kind="command", command=("jobs",), tell=(tell, "job"), **more)
        names = {"gpu01": "gpu01.example.org", "render-9": "gpu01.example.org"}  # the second by its host name
        self.queues = QueuesInForce([self.slurm, self.farm], names=names)
        clock: Any = SimpleNamespace(utc_s=lambda: NOW + self.mono_s, mono_s=lambda: self.mono_s)
        loop: Any = self
        self.notes = OwnerNotes(self.queues, clock, loop, ZoneInfo("Europe/Berlin"), at_once, lambda id: None)

    @property
    def published(self) -> Any:
        return SimpleNamespace(
            node_caps=self.caps,
            orders=self.orders,
            decision=SimpleNamespace(caps=SimpleNamespace(nodes=self.peak, costs=self.costs, reason=self.why)),
            snapshot=SimpleNamespace(nodes=self.nodes),
        )

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.events.append((severity, text))

    def comments(self, **changes: Any) -> SlurmComments:
        config = msgspec.structs.replace(self.slurm, **changes)
        return SlurmComments(config, "Render farm", self.notes, self, at_once)  # type: ignore[arg-type]

    def command(self, **changes: Any) -> TellCommand:
        config = msgspec.structs.replace(self.farm, **changes)
        return TellCommand(config, self.notes, self.queues, self)  # type: ignore[arg-type]

    def show(self, *lines: str) -> None:
        """What squeue prints from now on."""
        (self.place / "jobs").write_text("\n".join((HEADER, *lines)) + "\n")

    def read(self, *jobs: Job) -> None:
        """The queue of their scheduler, as it was read."""
        self.queues.take(jobs[0].scheduler, QueueRead(jobs=jobs), NOW)

    async def hold(self) -> None:
        """What is so stays so for long enough to be told."""
        await self.notes.look()
        self.mono_s += HOLD_S
        await self.notes.look()

    def asked(self) -> list[str]:
        """What was asked since the last time."""
        path = self.place / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def waiting(site: Site, comment: str = "(null)") -> None:
    """A job waits for 1.2 kW, 0.4 kW are free, another runs."""
    site.show(line("7", "PENDING", comment), line("8", "RUNNING", licences=30))
    site.read(job("7"), job("8", "running", ("gpu01",)))
    site.queues.note_power("slurm", StartPower(total_w=6000.0, held_w=3000.0, kept_w=2600.0))


WAITS = (
    "[skerry-render-farm] waits for power: needs 1.2 kW, 0.4 kW free at 04:51; start expected by 05:45 as things stand"
)


async def test_a_job_that_waits_for_power_is_told_once_and_no_more_once_it_runs(site: Site) -> None:
    waiting(site)
    comments = site.comments()
    assert await comments.look()
    assert site.asked() == [], "only once it is known for a while"
    await site.hold()
    assert await comments.look()
    assert site.asked() == [f"update|JobId=7|AdminComment={WAITS}|"]
    assert words(site.queues.told(job("7"))) == WAITS.partition("] ")[2], "the same in skerry queue"
    waiting(site, WAITS)
    site.queues.note_power("slurm", StartPower(total_w=6000.0, held_w=3000.0, kept_w=2500.0))
    await site.hold()
    assert await comments.look()
    assert site.asked() == [], "100 W more are no news"
    for _ in range(SETTLED):
        await comments.look()
    site.show(line("7", "RUNNING", WAITS), line("8", "RUNNING", licences=30))
    site.read(job("7", "running"), job("8", "running", ("gpu01",)))
    await site.notes.look()
    assert await comments.look()
    assert site.asked() == ["update|JobId=7|AdminComment=|"], "at once: it would be false"
    assert site.events == []


async def test_what_somebody_else_has_said_stays(site: Site) -> None:
    waiting(site, "call Ann before you kill it")
    comments = site.comments()
    for _ in range(SETTLED + 1):
        await comments.look()
        await site.hold()
    await comments.clear()
    assert site.asked() == []
    assert site.queues.told(job("7")) is not None


async def test_without_the_key_jobs_are_only_read(site: Site) -> None:
    waiting(site, f"{WAITS} old")
    comments = site.comments(tell_owners=False)
    for _ in range(SETTLED + 1):
        await comments.look()
        await site.hold()
    await comments.clear()
    assert site.asked() == []
    assert site.queues.told(job("7")) is not None


async def test_where_no_power_is_kept_back_nobody_waits_for_it(site: Site) -> None:
    """The licences of that name are then somebody else's affair."""
    site.show(line("7", "PENDING"))
    site.read(job("7"))
    await site.comments().look()
    await site.hold()
    assert not site.notes.told


@pytest.mark.parametrize("reason", ["Dependency", "Resources", "JobHeldUser"])
async def test_who_waits_for_something_else_is_not_told_of_power(site: Site, reason: str) -> None:
    waiting(site)
    site.show(line("7", "PENDING", reason=reason))
    await site.comments().look()
    await site.hold()
    assert not site.notes.told


async def test_an_earlier_runs_texts_are_taken_away_at_the_end_and_in_time(site: Site) -> None:
    """Waiting tasks are told together; one that has started has their text from them."""
    site.show(*(line(id, state, WAITS) for id, state in (("7", "PENDING"), ("9_1-5%2", "PENDING"), ("9_7", "RUNNING"))))
    site.read(job("1"))
    comments = site.comments()
    for _ in range(SETTLED):
        await comments.look()
    assert site.asked() == [], "not before it is known what holds"
    await comments.look()
    assert site.asked() == ["update|JobId=7,9_[1-5],9_7|AdminComment=|"]
    await site.comments().clear()
    assert site.asked() == ["update|JobId=7,9_[1-5],9_7|AdminComment=|"]


async def test_no_more_than_some_texts_a_round(site: Site) -> None:
    site.show(*(line(str(n), "PENDING") for n in range(1, 101)))
    site.read(*(job(str(n)) for n in range(1, 101)))
    site.queues.note_power("slurm", StartPower(total_w=6000.0, held_w=3000.0, kept_w=2600.0))
    comments = site.comments()
    await comments.look()
    await site.hold()
    await comments.look()
    assert len(site.asked()) == MOST_TEXTS


async def test_trouble_is_told_once_with_what_scontrol_says(site: Site) -> None:
    waiting(site)
    comments = site.comments()
    await comments.look()
    await site.hold()
    (site.place / "refused").write_text("Access/permission denied for job 7\n")
    assert not await comments.look()
    assert not await comments.look()
    (told,) = site.events
    assert told[0] == "warning"
    assert "Access/permission denied for job 7" in told[1]
    (site.place / "refused").unlink()
    assert await comments.look()
    assert site.events[1:] == [("info", "told again")]


ENDED = "Job has already finished for job 7\n"  # of Slurm 22.05.8, with exit code 1


async def test_a_job_that_has_just_ended_is_no_trouble(site: Site) -> None:
    waiting(site)
    comments = site.comments()
    await comments.look()
    await site.hold()
    (site.place / "refused").write_text(ENDED * 40)
    assert await comments.look()
    (site.place / "refused").write_text(f"{ENDED}Access/permission denied for job 8\n")
    assert not await comments.look()
    assert len(site.events) == 1


async def test_a_job_that_ends_for_hours_is_not_changed(site: Site) -> None:
    """Slurm refuses that, and its node may hang."""
    site.show(line("7", "COMPLETING", WAITS), line("9", "PENDING", WAITS))
    site.read(job("1"))
    await site.comments().clear()
    assert site.asked() == ["update|JobId=9|AdminComment=|"]


REFUSES_5 = """#!/bin/sh
cd {place} || exit
test "$2" = 5 && exit 1
printf '%s|' "$@" >> asked; echo >> asked
"""


async def test_a_job_that_a_command_refuses_holds_up_no_other(site: Site) -> None:
    capped(site)
    program(site.place / "tell", REFUSES_5)
    site.read(job("5", "running", ("gpu01",), "farm"), job("6", "running", ("gpu01",), "farm"))
    command = site.command()
    await site.hold()
    assert not await command.look()
    assert not await command.look()
    assert [line.split("|")[1] for line in site.asked()] == ["6"]


@pytest.mark.parametrize("kind", ["slurm", "command"])
async def test_a_scheduler_that_hangs_holds_up_nothing(site: Site, kind: str) -> None:
    waiting(site)
    capped(site)
    await site.hold()
    (site.place / "hang").touch()
    told = site.comments(deadline_s=0.3) if kind == "slurm" else site.command(deadline_s=0.3)
    assert not await told.look()
    assert "within 0.3 s" in site.events[0][1]
    async with asyncio.timeout(LIMIT_S):
        await told.clear()


# ── caps, and a command of the site ─────────────────────────────────────────────────────────────────────────────────


def capped(site: Site, **more: Any) -> None:
    """Node gpu01 is capped to 1.2 kW; job 5 of the farm runs on it, as gpu01 of its scheduler."""
    site.caps = (NodeCap("gpu01.example.org", 1200.0, None, None, 0),)
    site.nodes = (msgspec.structs.replace(site.nodes[0], id="gpu01.example.org"),)
    site.read(job("5", "running", ("gpu01",), "farm"), job("6", "running", ("gpu02",), "farm"))


CAPPED = "capped: node gpu01.example.org to 1.2 kW, a GPU to 250 W since"


async def test_a_command_is_told_of_a_cap_and_of_its_end(site: Site) -> None:
    capped(site)
    site.peak = (("gpu01.example.org", 1200.0),)
    command = site.command()
    await site.hold()
    assert await command.look()
    assert site.asked() == [f"job|5|{CAPPED} 04:50, until when is not known, for the month's peak|"]
    assert await command.look()
    assert site.asked() == []
    (shown,) = [shown for shown in site.queues.now()[1].jobs if shown.told is not None]
    assert shown.id == "5", "in the console, too"
    site.caps = ()
    await site.hold()
    assert await command.look()
    assert site.asked() == ["job|5||"]
    assert await command.look()
    assert site.asked() == []


@pytest.mark.parametrize("name", ["GPU01", "Render-9.example.org"])
async def test_a_cap_is_told_by_whatever_name_the_scheduler_has_for_the_node(site: Site, name: str) -> None:
    capped(site)
    site.read(job("5", "running", (name,), "farm"))
    await site.hold()
    await site.command().look()
    assert [line.split(" since")[0] for line in site.asked()] == [f"job|5|{CAPPED.partition(' since')[0]}"]


async def test_a_cap_for_dear_energy_is_not_told_as_one_for_the_peak(site: Site) -> None:
    capped(site)
    site.peak = (("gpu01.example.org", 1200.0),)
    site.why = Reason("caps.priced", {"reason": Reason("caps.energy", {"eur_per_kwh": 0.6}), "slowdown_pct": 3.0})
    await site.hold()
    await site.command().look()
    (told,) = site.asked()
    assert told.endswith(", until when is not known, for energy that costs more than what is lost|")


async def test_how_much_slower_is_told_where_it_is_priced(site: Site) -> None:
    capped(site)
    site.peak = (("gpu01.example.org", 1200.0),)
    site.costs = (CapCost("gpu01.example.org", 0.25, 1.0, 2.0, "curve"),)
    await site.hold()
    await site.command().look()
    (told,) = site.asked()
    assert "; about 25 % slower by the published curve, not measured on this job|" in told


async def test_an_order_is_told_with_its_end(site: Site) -> None:
    capped(site)
    order = (OrderKind.NODE_CAP, 1200.0, "gpu01.example.org", "ann", "secret test", NOW - 60, NOW + 1800, 1860.0)
    site.orders = (Order("7", *order),)
    await site.hold()
    await site.command().look()
    assert site.asked() == [f"job|5|{CAPPED} 04:49 until 05:20, by an order of an operator|"]


async def test_a_job_that_is_gone_is_forgotten_and_the_rest_told_at_the_end(site: Site) -> None:
    capped(site)
    command = site.command()
    await site.hold()
    await command.look()
    site.asked()
    site.read(job("6", "running", ("gpu01",), "farm"))
    await site.hold()
    await command.look()
    assert [line.split("|")[1] for line in site.asked()] == ["6"]
    await command.clear()
    assert site.asked() == ["job|6||"]
    await command.clear()
    assert site.asked() == []


async def test_what_a_command_refuses_is_tried_again(site: Site) -> None:
    capped(site)
    command = site.command()
    await site.hold()
    (site.place / "refused").write_text("no such job\n")
    assert not await command.look()
    assert "no such job" in site.events[0][1]
    (site.place / "refused").unlink()
    assert await command.look()
    assert len(site.asked()) == 1
