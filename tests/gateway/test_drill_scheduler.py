"""The schedule outside the tick: what is shown, logged, kept and begun, on a gateway made of its parts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from small_gateway import SITE, small_site

from dispatch.islanding.drill_schedule import ScheduleMemory
from dispatch.model.islanding import IslandReply
from dispatch.model.reasons import plain
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from gateway.drill_scheduler import DrillScheduler
from gateway.site.loader import SiteFileError

TUESDAY_10 = 1_767_690_000.0  # 2026-01-06 10:00 in Berlin
WEEKLY = {"schedule": "weekly, Tuesday 10:00"}


class Drills:
    """The state of drills, without a record."""

    known = True
    report: Any = None
    plan: Any = None
    due = ""

    def set_schedule(self, plan: Any, due: str) -> None:
        self.plan, self.due = plan, due


class Stand:
    """What the scheduler is given, and who begins drills."""

    def __init__(self, directory: Path, answer: IslandReply, **drills: Any) -> None:
        self.now_s = TUESDAY_10 - 10
        self.kept: list[Any] = []
        self.log: list[tuple[str, str]] = []
        self.begun: list[tuple[float, str]] = []
        self.answer = answer
        self.site = small_site(directory, drills=WEEKLY | drills)
        self.loop = SimpleNamespace(published=None, drill_started_utc_s=None)
        self.drills = Drills()
        self.scheduler = self.a_scheduler(None)

    def a_scheduler(self, kept: Any) -> DrillScheduler:
        """One that finds this on record."""
        here: Any = self
        return DrillScheduler(
            site=self.site,
            clock=here,
            events=here,
            loop=here.loop,
            planner=here,
            drills=here.drills,
            starter=here,
            save=lambda key, value: self.kept.append(msgspec.to_builtins(value)),
            kept=kept,
        )

    plan = None

    def utc_s(self) -> float:
        return self.now_s

    def event(self, kind: str, severity: str, subject: str, text: str) -> None:
        self.log.append((severity, text))

    async def start_scheduled(self, minutes: float, reason: str) -> IslandReply:
        self.begun.append((minutes, reason))
        return self.answer

    async def at(self, seconds: float) -> Any:
        """One check, so long after the drill was due; what consoles are shown."""
        self.now_s = TUESDAY_10 + seconds
        await self.scheduler.check()
        return self.drills.plan


@pytest.fixture
def stand(tmp_path: Path, request: pytest.FixtureRequest) -> Stand:
    answer, drills = request.param
    made = Stand(tmp_path, answer, **drills)
    made.loop.published = SimpleNamespace(snapshot=Snapshot(seq=1, utc_s=0, mono_s=0, grid=None))  # type: ignore[arg-type]
    return made


RATING = plain("no drill: rating")
YES, NO = IslandReply("", True, plain("drill of 10 min by schedule")), IslandReply("", False, RATING)


@pytest.mark.parametrize("stand", [(YES, {})], indirect=True)
async def test_attended_nothing_begins_by_itself(stand: Stand) -> None:
    assert (await stand.at(-1)).due_utc_s is None
    shown = await stand.at(5)
    assert (shown.due_utc_s, shown.next_utc_s) == (TUESDAY_10, TUESDAY_10 + 7 * 86_400)
    assert "skerry drill start" in words(stand.drills.due)
    assert (stand.begun, stand.log) == ([], [])
    stand.drills.report = SimpleNamespace(started_utc_s=TUESDAY_10 + 60)
    assert (await stand.at(120)).due_utc_s is None
    assert stand.drills.due is None
    assert stand.log == [("info", "the drill due 2026-01-06 10:00 has been run")]


@pytest.mark.parametrize("stand", [(YES, {})], indirect=True)
async def test_a_drill_that_was_missed_is_said_also_after_a_restart(stand: Stand) -> None:
    await stand.at(-1)
    await stand.at(5)
    after = stand.a_scheduler(stand.kept[-1])
    stand.now_s = TUESDAY_10 + 9 * 3600
    await after.check()
    await after.check()
    assert stand.log == [("warning", "the drill due 2026-01-06 10:00 was missed: nobody started it")]


@pytest.mark.parametrize("stand", [(YES, {})], indirect=True)
async def test_a_memory_that_cannot_be_read_begins_anew_and_says_so(stand: Stand) -> None:
    stand.scheduler = stand.a_scheduler({"handled_utc_s": "long ago"})
    assert (await stand.at(5)).due_utc_s is None
    assert "is lost" in stand.log[0][1]


@pytest.mark.parametrize("stand", [(NO, {"unattended": True, "minutes": 5})], indirect=True)
async def test_unattended_it_is_begun_and_a_refusal_is_logged_and_tried_again(stand: Stand) -> None:
    await stand.at(-1)
    await stand.at(1)
    await stand.at(60)
    assert stand.begun == [(5.0, "schedule: weekly, Tuesday 10:00")]
    assert stand.log == [("warning", "the drill that is due was not begun: no drill: rating")]
    assert words(stand.drills.plan.note) == "not begun: no drill: rating"
    assert msgspec.convert(stand.kept[-1], ScheduleMemory).refused == RATING
    await stand.at(1000)
    assert len(stand.begun) == 2


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"drills": {"schedule": "monthly, Tuesday 10:00"}}, r"drills\.schedule = 'mon.*': expected a schedule"),
        ({"drills": {"schedule": 10}}, r"drills\.schedule = 10: expected a text"),
        ({"drills": WEEKLY | {"minutes": 0}}, r"drills\.minutes = 0: expected"),
        ({"drills": WEEKLY | {"minutes": 90}}, r"drills\.minutes = 90.*: expected at most island\.drill_min.* = 60"),
        ({"drills": WEEKLY | {"unattended": "yes"}}, r"drills\.unattended = 'yes': expected true or false"),
        ({"drills": WEEKLY, "switch": []}, r"drills\.schedule = .*: expected a \[\[switch\]\] that may be asked"),
        ({"drills": {"shedule": "x"}}, r"drills\.shedule = 'x': expected a known key; did you mean schedule\?"),
    ],
)  # fmt: skip
def test_mistakes_in_the_site_file(tmp_path: Path, sections: dict[str, Any], says: str) -> None:
    assert "drills" not in SITE
    with pytest.raises(SiteFileError, match=says):
        small_site(tmp_path, **sections)


@pytest.mark.parametrize("stand", [(NO, {"unattended": True, "minutes": 5})], indirect=True)
async def test_nothing_begins_before_it_is_known_what_was_begun(stand: Stand) -> None:
    """The record of earlier runs could not be read yet: the drill may have been done already."""
    stand.drills.known = False
    assert await stand.at(5) is None
    assert (stand.begun, stand.kept) == ([], [])
    stand.drills.known = True
    await stand.at(10)
    assert stand.kept
