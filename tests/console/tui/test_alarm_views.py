"""The list of alarms with groups and those off the list, its commands, and the history of alarms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import scenes
from alarm_scene import alarm_scene
from recorded_client import RecordedClient
from screen import flat, screen_text

from console.cli.status_text import lines
from console.display.viewmodel import Model, PastMark, received
from console.tui.alarm_history import AlarmHistory
from console.tui.alarm_list import AlarmList, helping
from console.tui.app import SkerryApp
from console.tui.canvas import Canvas
from console.tui.form_fields import CommandForm, FieldError, alarm_parameters, new_form
from console.tui.status_bars import AlarmLine, NextLine, WhyLine, own_why_rows, why_rows
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.episodes import AlarmEpisode, Raised
from dispatch.alarms.flood import AlarmRate
from dispatch.alarms.priorities import Priority
from dispatch.alarms.shelving import OUT_OF_SERVICE, SHELVED, Suppression
from dispatch.alarms.states import Alarm, AlarmState, FirstOut, ShelvedAlarm
from dispatch.model.reasons import plain

NOW_S = scenes.read("calm").published.snapshot.utc_s
WAITS, SEEN = AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED
LOST = Alarm("device-lost:gpu-01", Priority.LOW, WAITS, NOW_S - 60, plain("no answer"), group="compute")
RISK = Alarm(
    "peak-at-risk",
    Priority.HIGH,
    SEEN,
    NOW_S - 30,
    plain("import 40 kW"),
    acknowledged_by="kim",
    group="grid",
    act_within_s=480.0,
    first_utc_s=NOW_S - 600,
    first_detail=plain("import 34 kW"),
)
OFF = ShelvedAlarm(
    Suppression("price-feed", SHELVED, "kim", "feed is down", NOW_S - 3600, NOW_S + 3600), SEEN, Priority.LOW, "plan", 2
)


def model(*alarms: Alarm, **more: Any) -> Model:
    scene = scenes.read("calm")
    told = msgspec.structs.replace(scene.published, alarms=alarms, **more)
    return received(Model(welcome=scene.welcome), told)


def drawn(view: AlarmList | AlarmHistory, shown: Model, height: int = 24) -> str:
    view.model = shown
    canvas = Canvas(80, height)
    view.paint(canvas, shown)
    return "\n".join(canvas.lines())


def test_what_to_do_is_whole_beside_a_why_line_of_three_rows() -> None:
    """15 rows are left of 24 then; the longest texts take one of the list's."""
    scene = alarm_scene()
    shown, view = received(Model(welcome=scene.welcome), scene.published), AlarmList()
    drawn(view, shown, 15)
    view.move(1)
    text = " ".join(drawn(view, shown, 15).split())
    assert "Ride-through gives up load shelved" in text
    assert text.endswith("and the battery has recovered.")


def test_it_is_listed_by_urgency_by_group_and_by_time() -> None:
    view, shown = AlarmList(), model(LOST, RISK, shelved=(OFF,))
    text = drawn(view, shown)
    assert [view.key(item) for item in view.listed(shown)] == ["device-lost:gpu-01", "peak-at-risk", "price-feed"]
    assert "shelved until" in text
    view.sort_next()
    assert [view.key(item) for item in view.listed(shown)] == ["peak-at-risk", "device-lost:gpu-01", "price-feed"]
    text = drawn(view, shown)
    assert "Group" in text
    assert "compute" in text
    view.sort_next()
    assert [view.key(item) for item in view.listed(shown)] == ["peak-at-risk", "device-lost:gpu-01", "price-feed"]
    view.filter_text = "compute"
    assert [view.key(item) for item in view.listed(shown)] == ["device-lost:gpu-01"]


def test_the_time_to_act_what_was_seen_at_first_and_what_helps() -> None:
    text = " ".join(drawn(AlarmList(), model(RISK)).split())
    assert "act within 8 min" in text
    assert "import 34 kW" in text
    assert "o Setpoint · c Cap · skerry why" in text
    assert "off the list" not in text


def test_one_off_the_list_says_by_whom_why_and_what_came() -> None:
    text = drawn(AlarmList(), model(shelved=(OFF,)))
    assert "by kim: feed is down · it stands" in " ".join(text.split())
    assert "came 2 times meanwhile" in " ".join(text.split())


def test_a_flood_and_a_first_out_that_has_gone_are_noted() -> None:
    first = FirstOut("grid-outage", NOW_S - 120, None)
    text = drawn(AlarmList(), model(LOST, first_out=first, alarm_rate=AlarmRate(11, True)))
    assert "first was Grid outage" in text
    assert "FLOOD: 11 in the last 10 min" in text
    gone = drawn(AlarmList(), model(LOST, first_out=first))
    assert "first was Grid outage" in gone
    assert ", gone" in gone
    kept = msgspec.structs.replace(OFF.suppression, id="grid-outage")
    off = drawn(AlarmList(), model(LOST, first_out=first, shelved=(msgspec.structs.replace(OFF, suppression=kept),)))
    assert ", off the list" in off, "somebody has shelved it"
    assert ", gone" not in off
    assert "in the last" not in drawn(AlarmList(), model(LOST, alarm_rate=AlarmRate(0, False)))


def line(widget: AlarmLine | NextLine | WhyLine, shown: Model, width: int = 80) -> str:
    canvas = Canvas(width, 2 if isinstance(widget, WhyLine) else 1)
    widget.paint(canvas, shown)
    return " ".join(" ".join(canvas.lines()).split())


def test_every_view_tells_of_alarms_that_are_off_the_list() -> None:
    """Found: "Alarms none" beside two that stood, one of them out of service."""
    gone = msgspec.structs.replace(OFF, state=AlarmState.NORMAL)
    assert line(AlarmLine(), model(iq=None, last_drill=None, shelved=())) == "Alarms none"
    assert line(AlarmLine(), model(iq=None, last_drill=None, shelved=(OFF, gone))).startswith(
        "Alarms none listed · 2 off the list, 1 stands"
    )
    assert line(AlarmLine(), model(LOST, shelved=(OFF,)), 120).endswith("1 off the list, 1 stands a acknowledge")
    assert line(AlarmLine(), model(LOST, shelved=(OFF,))).endswith("1 off the list a acknowledge")
    assert line(AlarmLine(), model(LOST, shelved=(OFF,)), 60).endswith("a acknowledge")
    rows = [" ".join(row.split()) for row in lines(model(shelved=(gone,)).published, scenes.read("calm").welcome)]
    assert "Alarms none listed" in rows
    assert "1 off the list, shelved or out of service: skerry alarms" in rows


def test_a_long_why_takes_the_line_of_the_plan_and_no_other() -> None:
    """Found: "cannot be met: asks at most 0.0 kW, held at 0.8 kW by g…" at 80 columns."""
    shown = model()
    long = " ".join(f"word{n}" for n in range(29)) + " end"
    decision = msgspec.structs.replace(shown.published.decision, reason=plain(long))
    told = msgspec.structs.replace(shown.published, decision=decision)
    why = line(WhyLine(), received(shown, told)) + " " + line(NextLine(), received(shown, told))
    assert why == f"Why {long}"
    warned = received(shown, msgspec.structs.replace(told, advisories=(plain("contract"),)))
    assert "▲ contract" in line(NextLine(), warned)
    assert own_why_rows(warned, 80) == 3  # nothing is cut: it takes a row of the view instead
    assert " ".join(why_rows(warned, 80)) == long


@pytest.mark.parametrize("name", ["outage", "drill", "alarms", "stale"])
async def test_the_why_line_is_never_cut_at_80_columns(name: str, eventually: Callable[..., Any]) -> None:
    scene = scenes.read(name)
    decision = scene.published.decision
    long = msgspec.structs.replace(decision, reason=plain(" ".join(f"word{n}" for n in range(30)) + " end"))
    client = RecordedClient(
        msgspec.structs.replace(scene, published=msgspec.structs.replace(scene.published, decision=long))
    )

    async def connect() -> RecordedClient:
        return client

    async with SkerryApp(connect, monotonic=lambda: 100.0).run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: pilot.app.model.published is not None)
        await eventually(pilot, lambda: " end " in flat(pilot.app))
        assert "word0 word1" in flat(pilot.app)
        assert "Alarms" in screen_text(pilot.app)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.id)
def test_what_helps_fits_a_line(definition: object) -> None:
    said = helping(definition.id)
    assert said
    assert len(said) <= 65


def test_nothing_is_said_of_alarms_at_a_time_of_which_nothing_is_on_record() -> None:
    then = msgspec.structs.replace(model(), past=PastMark(NOW_S), published=None)
    assert drawn(AlarmList(), then).splitlines()[1].strip() == "nothing is on record of then"
    assert "shown as it is now only" in drawn(AlarmHistory(), msgspec.structs.replace(model(), past=PastMark(NOW_S)))
    calm = msgspec.structs.replace(model(), past=PastMark(NOW_S))
    calm = msgspec.structs.replace(calm, published=msgspec.structs.replace(calm.published, alarms=(), shelved=()))
    assert drawn(AlarmList(), calm).splitlines()[1].strip() == "no alarm on record was listed then"


def test_the_history_tells_durations() -> None:
    episodes = (
        AlarmEpisode("grid-outage", "alarm", "Grid outage", NOW_S - 60, raised=(Raised(NOW_S - 30, "now of high"),)),
        AlarmEpisode("pcs-fault:pcs1", "alarm", "PCS pcs1 in fault", NOW_S - 900, NOW_S - 600, NOW_S - 840, "kim"),
        AlarmEpisode("no-plan", "warning", "No plan", NOW_S - 9000, restart_utc_s=NOW_S - 8000),
    )
    shown = msgspec.structs.replace(model(), alarm_history=episodes)
    rows = drawn(AlarmHistory(), shown).splitlines()
    assert "stands    ▲ " in rows[1]
    assert "not acknowledged" in rows[1]
    assert " now of high; not acknowledged" in rows[-3]
    assert "5 min" in rows[2]
    assert "kim after 1 min" in rows[2]
    assert "not known" in rows[3]


def test_forms_offer_what_can_be_chosen_and_say_what_is_missing() -> None:
    shown = model(LOST, RISK, shelved=(OFF,))
    form = new_form("alarm.shelve", shown, RISK.id)
    assert isinstance(form, CommandForm)
    assert form.fields[0].choices == (RISK.id, LOST.id)
    with pytest.raises(FieldError, match="reason: expected at least 3 characters"):
        alarm_parameters(form)
    filled = form.with_text(2, "feeder is tested")
    assert alarm_parameters(filled) == {"id": RISK.id, "reason": "feeder is tested", "for_s": 7200.0}
    back = new_form("alarm.return", shown)
    assert isinstance(back, CommandForm)
    assert alarm_parameters(back) == {"id": "price-feed", "reason": ""}
    assert new_form("alarm.return", model(LOST)) == "no alarm is shelved or out of service"
    assert new_form("alarm.out_of_service", model()) == "no alarm is listed"
    assert OUT_OF_SERVICE != SHELVED
