"""Frames start as far as the site has power: what a limit command of our own is asked, and what is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from powered_site import PoweredSite
from small_gateway import running
from waiting import LIMIT_S

from dispatch.model.islanding import IslandState
from dispatch.planning.start_allowance import SETTLES_S
from drivers.schedulers.config import Scheduler
from gateway.job_starts import JobStarts

COMMAND = """#!/bin/sh
# A limit command that keeps its limit in files
cd {place} || exit
test "$1" = show || echo "$*" >> asked
test -e refused && {{ echo "HTTP 503" >&2; exit 1; }}
read -r limit < limit; read -r used < used; found=null; changed=false
test -e found && read -r found < found
test -e wrote && {{ read -r wrote < wrote; test "$wrote" = "$limit" || changed=true; }}
case $1 in
show) printf '{{"format": "skerry-limit/1", "limit": %d, "used": %d, ' "$limit" "$used"
    printf '"found": %s, "changed": %s}}' "$found" "$changed";;
set) test -e found || cp limit found; echo "$2" | tee limit > wrote;;
restore) test $changed = true || test ! -e found || cp found limit; rm -f found wrote;;
esac
"""
FRAME_W = 500.0


class Farm(PoweredSite):
    """A farm of 100 frames of 500 W, and a site with 60 kW of contract that draws what a test says."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place = place
        self.write(limit=100, used=0)
        (place / "asked").touch()
        self.command = place / "limit-command"
        self.command.write_text(COMMAND.format(place=place))
        self.command.chmod(0o755)

    def write(self, **values: int) -> None:
        for name, value in values.items():
            (self.place / name).write_text(f"{value}\n")

    @property
    def limit(self) -> int:
        return int((self.place / "limit").read_text())

    def asked(self) -> list[str]:
        """What was set since the last time."""
        lines = (self.place / "asked").read_text().splitlines()
        (self.place / "asked").write_text("")
        return lines


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


def starts(farm: Farm) -> JobStarts:
    config = Scheduler(
        id="farm", kind="command", command=("true",), admit=True, limit=(str(farm.command),), limit_unit_w=FRAME_W
    )
    return farm.starts(config)


async def settled(farm: Farm) -> JobStarts:
    """One that has seen for long enough which frames have just begun."""
    made = starts(farm)
    assert await made.look()
    farm.mono_s += SETTLES_S
    made.observe()
    return made


async def test_as_many_frames_start_as_there_is_power_for(farm: Farm) -> None:
    made = await settled(farm)
    assert (farm.asked(), farm.limit, made.kept) == (["set 80"], 80, 20), "40 kW are free, a frame draws 0.5 kW"
    assert farm.events[0][1].startswith("10.0 kW of 50.0 kW are kept back from jobs: jobs may start with 4")
    farm.write(used=40)
    farm.load_w = 40_000.0
    farm.mono_s += SETTLES_S + 1
    made.observe()
    assert await made.look()
    assert farm.asked() == ["set 80"], "40 run, their load is in the meter now, and 20 kW are free: renewed"
    farm.load_w = 59_000.0
    made.observe()
    assert await made.look()
    assert farm.limit == 42
    farm.load_w = 0.0
    farm.write(used=0)
    farm.mono_s += SETTLES_S + 1
    made.observe()
    assert await made.look()
    assert (farm.limit, farm.asked()[-1]) == (100, "restore")
    assert farm.events[-1] == ("info", "nothing is kept back from jobs any more")


async def test_off_the_grid_no_frame_begins(farm: Farm) -> None:
    farm.island, farm.known = IslandState.ISLANDED, False
    farm.write(used=70)
    assert await starts(farm).look()
    assert farm.limit == 0, "those that run go on"


async def test_at_the_end_what_was_found_is_put_back(farm: Farm) -> None:
    made = await settled(farm)
    await made.end()
    assert (farm.limit, farm.asked()[-1]) == (100, "restore")
    assert await made.look()
    assert (farm.limit, farm.asked()) == (100, []), "and not set again"


async def test_one_that_ends_before_its_first_look_puts_back_what_one_that_was_killed_left(farm: Farm) -> None:
    farm.write(limit=30, wrote=30, found=100)
    await starts(farm).end()
    assert (farm.limit, farm.asked()) == (100, ["restore"])


async def test_a_gateway_that_starts_knows_what_was_found_before_the_one_that_was_killed(farm: Farm) -> None:
    farm.write(limit=30, wrote=30, found=100)
    made = starts(farm)
    assert await made.look()
    assert farm.limit == 30, "no more until it is seen who has just begun"
    await made.end()
    assert farm.limit == 100


async def test_a_limit_that_another_has_changed_stays_and_raises_an_alarm(farm: Farm) -> None:
    made = await settled(farm)
    farm.asked()
    farm.write(limit=95)
    for _ in range(2):
        assert await made.look()
    what = "the limit was changed by another to 95; it stays"
    assert (farm.asked(), farm.limit, farm.events[1:]) == ([], 95, [("warning", what)])
    assert farm.trouble.changes == {"farm": what}
    await made.end()
    made = starts(farm)
    assert await made.look()
    assert (farm.asked(), farm.limit, farm.trouble.changes) == ([], 95, {"farm": what}), "also by the next gateway"
    (farm.place / "found").unlink()  # a person has run the command with `restore`
    (farm.place / "wrote").unlink()
    farm.load_w = 50_000.0
    made.observe()
    assert await made.look()
    assert (farm.limit, farm.trouble.changes) == (20, {"farm": ""})


async def test_a_command_that_fails_is_told_once_and_when_it_works(farm: Farm) -> None:
    made = starts(farm)
    (farm.place / "refused").touch()
    for _ in range(2):
        assert not await made.look()
    ((severity, text),) = farm.events
    assert (severity, text.endswith("HTTP 503")) == ("warning", True), text
    assert "(whether the limit is lowered is not known)" in text
    assert farm.trouble.failures["farm"].endswith("HTTP 503")
    (farm.place / "refused").unlink()
    assert await made.look()
    assert (farm.trouble.failures["farm"], farm.limit) == ("", 80)


@pytest.mark.parametrize(
    ("limit", "told"), [(0, "the limit is 0: give it the number that may run without Skerry"), (-1, "the limit is -1")]
)
async def test_a_limit_of_none_cannot_be_reduced(farm: Farm, limit: int, told: str) -> None:
    farm.write(limit=limit)
    assert not await starts(farm).look()
    assert told in farm.trouble.failures["farm"]
    assert farm.asked() == []


@pytest.mark.parametrize("printed", ["", "40", "{}", "[" * 5000, '{"format": "skerry-limit/1", "limit": "x"}'])
async def test_what_is_no_limit_is_told(farm: Farm, printed: str) -> None:
    farm.command.write_text(f"#!/bin/sh\nprintf '%s' '{printed}'\n")
    assert not await starts(farm).look()
    assert "expected {" in farm.trouble.failures["farm"]


async def test_while_the_site_is_not_known_nothing_is_set_so_that_the_timer_puts_it_back(farm: Farm) -> None:
    made = await settled(farm)
    farm.asked()
    farm.known = False
    assert await made.look()
    assert farm.asked() == []
    assert farm.events[-1][1] == "what the site can give is not known: the limit stays until its timer puts it back"


async def test_a_gateway_puts_the_limit_back_when_it_stops(place: Path) -> None:
    farm = Farm(place)
    farm.write(limit=30, wrote=30, found=100)
    lines = place / "jobs.jsonl"
    lines.write_text(json.dumps({"format": "skerry-jobs/1", "jobs": 0}) + "\n")
    scheduler = {"id": "farm", "kind": "file", "file": str(lines), "admit": True}
    scheduler |= {"limit": [str(farm.command)], "limit_unit_w": FRAME_W}
    async with running(place / "state", place / "s.sock", scheduler=[scheduler]) as there:
        (made,) = there.gateway.job_starts
        async with asyncio.timeout(LIMIT_S):
            assert await made.look()
        assert farm.limit <= 30
    assert farm.limit == 100
