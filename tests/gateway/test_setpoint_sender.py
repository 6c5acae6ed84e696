"""Setpoints on their way: what is refused is never taken for held, and is told once."""

from __future__ import annotations

import pytest

from drivers.clock import VirtualClock
from drivers.setpoint import CommandResult
from gateway.setpoint_sender import SetpointSender


class Trouble(Exception):
    """What this test's device raises."""


class ScriptedPcs:
    """Answers each command with the next result, or raises it."""

    id = "pcs1"

    def __init__(self, *results: CommandResult | Exception) -> None:
        self.results, self.asked = list(results), []

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        self.asked.append((w, now_s))
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


def bench(*results: CommandResult | Exception) -> tuple[SetpointSender, VirtualClock, list[str], list[str]]:
    """A sender over a scripted PCS, its clock, and what it reports: changes of acceptance, notes."""
    clock, changes, notes = VirtualClock(), [], []
    sender = SetpointSender(
        ScriptedPcs(*results),
        clock,
        Trouble,
        lambda _, error: changes.append(error),
        lambda _, note: notes.append(note),
    )
    return sender, clock, changes, notes


@pytest.mark.parametrize(
    "refusal",
    [
        CommandResult("nothing", "waiting: the device did not take this value"),
        CommandResult("nothing", "pcs1 is in local control: not written"),
        Trouble("no answer"),
        ValueError("WSet = 40000 W: expected a number that sf = -6 can carry"),
    ],
)
async def test_a_refusal_is_not_held(refusal: CommandResult | Exception) -> None:
    """However it is refused: not held, said with its reason, and not fatal."""
    sender, _, changes, _ = bench(refusal)
    assert not await sender.deliver(5_000.0)
    assert sender.written_w is None
    assert sender.error
    assert changes == [sender.error]


async def test_refusals_and_successes_in_turn_are_told_once() -> None:
    """A device fought over by another master: one line when it begins, one when it has been quiet for a while."""
    refused, held = (
        CommandResult("nothing", "waiting: the device did not take this value"),
        CommandResult("changed", "", 5_000.0),
    )
    sender, clock, changes, _ = bench(refused, held, refused, held, held)
    for wait_s in (0.2, 0.2, 0.2, 0.2, 6.0):
        clock.advance(wait_s)
        await sender.deliver(5_000.0)
    assert changes == ["waiting: the device did not take this value", ""]
    assert sender.written_w == 5_000.0


@pytest.mark.parametrize("held", [True, False])
async def test_what_was_written_is_not_taken_for_read_back(held: bool) -> None:
    """The registers of some devices can only be written: taken, and not seen."""
    sender, _, changes, _ = bench(CommandResult("changed", "", 5_000.0, held))
    assert await sender.deliver(5_000.0)
    assert (sender.written_w, sender.read_back, changes) == (5_000.0, held, [])


async def test_nothing_asked_is_no_refusal() -> None:
    """Islanded: no setpoint is sent, and that is as it should be."""
    sender, _, changes, notes = bench(CommandResult())
    assert await sender.deliver(None)
    assert changes == notes == []


async def test_a_driver_that_does_not_write_at_all_is_told_from_a_device_that_refuses() -> None:
    unverified = CommandResult(note="map x is unverified: not written")
    waiting = CommandResult("nothing", "waiting: the device did not take this value")
    sender, *_ = bench(unverified, Trouble("refused"), waiting, CommandResult("changed", "", 5_000.0), unverified)
    told = []
    for _ in range(5):
        await sender.deliver(5_000.0)
        told.append(sender.withheld)
    assert told == [unverified.note, "", "", "", unverified.note]
