"""The catalogue of alarms: read strictly; priority by consequence and time to act; what helps exists."""

from __future__ import annotations

import importlib

import click
import msgspec
import pytest

from console.cli.main import COMMANDS as PROGRAMS
from console.tui.commands import COMMANDS
from dispatch.alarms.definitions import DEFINITIONS, GROUPS, read
from dispatch.alarms.points import Condition
from dispatch.alarms.priorities import Consequence, Priority, priority_of

BY_ID = {definition.id: definition for definition in DEFINITIONS}
ROW = '[a]\ngroup = "grid"\nconsequence = "major"\nact_within_s = 600\nhelps = ["view.log"]\n'


def test_each_alarm_is_complete() -> None:
    for definition in DEFINITIONS:
        assert definition.act_within_s is not None
        assert definition.priority is priority_of(definition.consequence, definition.act_within_s)
        assert definition.group in GROUPS
        assert definition.helps
    assert len({d.priority for d in DEFINITIONS}) == 3


def test_what_an_alarm_says_helps_exists() -> None:
    console = {command.id for command in COMMANDS}
    for definition in DEFINITIONS:
        for helps in definition.helps:
            words = helps.removeprefix("skerry ").split() if helps.startswith("skerry ") else []
            assert words or helps in console, f"{definition.id}: {helps} is no command"
            if words:
                module, name = PROGRAMS[words[0]][0].split(":")
                command: click.Command = getattr(importlib.import_module(module), name)
                for word in words[1:]:
                    assert isinstance(command, click.Group)
                    command = command.commands[word]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (('group = "grid"', 'group = "moon"'), r"\[a\]: group 'moon': expected one of grid, "),
        (('"major"', '"bad"'), r"\[a\]: Invalid enum value 'bad'"),
        (("act_within_s = 600", "act_within_s = 0"), r"\[a\]: Expected `float` > 0.0 - at `\$.act_within_s`"),
        (("helps", "helpful"), r"\[a\]: Object contains unknown field `helpful`"),
        (('["view.log"]', "[]"), r"\[a\]: helps: expected a command"),
        (("act_within_s = 600", "act_within_s = 600\ndeadband_w = 1\ndeadband_c = 1"), "expected at most one of"),
        (("act_within_s = 600", "act_within_s = 600\nby_name = true"), "may_shelve: expected false"),
        (("group =", "group"), "catalogue.toml: Expected '='"),
    ],
)
def test_a_mistake_is_named(changed: tuple[str, str], said: str) -> None:
    assert read(ROW)[0].priority is Priority.HIGH
    with pytest.raises(ValueError, match=said):
        read(ROW.replace(*changed))


def test_the_state_and_the_kind_of_device_change_the_priority() -> None:
    risk, lost = BY_ID["peak-at-risk"], BY_ID["device-lost"]
    breaks_in_8_min = risk.urgency(Condition(True, act_within_s=480.0))
    assert breaks_in_8_min == (Priority.HIGH, 480.0)
    assert risk.urgency(Condition(True, act_within_s=700.0)) == (Priority.MEDIUM, 700.0)
    assert lost.urgency(Condition(True, kind="node"))[0] is Priority.LOW
    assert lost.urgency(Condition(True, kind="pcs"))[0] is Priority.MEDIUM


def test_worse_or_sooner_is_never_less_urgent() -> None:
    order, times = list(Priority), (1.0, 600.0, 601.0, 3600.0, 3601.0, 28_800.0, 28_801.0)
    ranks = [[order.index(priority_of(consequence, s)) for s in times] for consequence in Consequence]
    assert all(row == sorted(row) for row in ranks)
    assert all(column == tuple(sorted(column)) for column in zip(*ranks, strict=True))


def test_definitions_are_frozen_data() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DEFINITIONS), type=tuple[type(DEFINITIONS[0]), ...]) == DEFINITIONS
