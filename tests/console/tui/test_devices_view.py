"""View 7: a line per device, its registers, at the widths that terminals have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import device_scene
import msgspec
import proof_sample
import pytest
import scenes
from proven_pcs import CHANGED, NOTE
from recorded_client import RecordedClient
from test_fields_apart import WatchedCanvas

from console.display.device_text import proven_text, raw_text, register_value_text
from console.display.status_text import alarm_state_words
from console.display.viewmodel import Model, received
from console.tui.alarm_list import AlarmList
from console.tui.app import SkerryApp
from console.tui.devices import Devices
from console.tui.overview_panels import event_row
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.equipment import DeviceHealth
from dispatch.model.events import Event
from dispatch.model.readings import reading, status
from dispatch.wording.catalogue import alarm_text
from drivers.register_view import RegisterValue

WIDTHS = (60, 80, 120)


@pytest.fixture(scope="module")
def model() -> Model:
    scene = device_scene.device_scene()
    return received(Model(welcome=scene.welcome), scene.published)


def drawn(view: Devices, model: Model, width: int, height: int = 18) -> list[str]:
    view.model = model
    canvas = WatchedCanvas(width, height)
    view.paint(canvas, model)
    assert [*canvas.faults, *canvas.touching()] == []
    return [line.rstrip() for line in canvas.lines()]


def test_the_list_has_the_rows_that_the_detail_does_not_need(model: Model) -> None:
    assert model.published is not None
    many = tuple(DeviceHealth(f"contact-{n}", "contact", True, 0.1, 9, 0, 0) for n in range(14))
    snapshot = msgspec.structs.replace(model.published.snapshot, devices=many)
    lines = drawn(Devices(), received(model, msgspec.structs.replace(model.published, snapshot=snapshot)), 80, 19)
    assert sum(line.startswith(" contact-") for line in lines) == 12 + 1  # and the detail's first line
    assert lines[13].endswith("+2 more")
    assert "" not in lines


@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_shows_who_answers_and_how_fast(model: Model, width: int) -> None:
    lines = drawn(Devices(), model, width, 24)
    grid = next(line for line in lines if line.startswith(" grid"))
    assert grid.split()[:6] == ["grid", "LOST", "1.2", "3.3", "60", "12s"]
    assert next(line for line in lines if line.startswith(" load")).split()[1] == "answers"
    assert next(line for line in lines if line.startswith(" gpu-02")).split()[1:3] == ["no", "answer"]
    text = " ".join(" ".join(lines).split())
    assert "Janitza electronics UMG 96RM-E 4800 1122" in text, "in full below the list"
    assert "no answer within 80 ms" in text
    assert "1.2 ms, worst 3.3 · 49112 reads · 60 failed" in text


def test_what_the_bms_tells_is_below_its_device(model: Model) -> None:
    assert model.published is not None
    snapshot = model.published.snapshot
    devices = tuple(msgspec.structs.replace(d, battery="bat1" if d.id == "pcs1" else "") for d in snapshot.devices)
    said = {
        "contactor": status("open"),
        "isolation": status("ok"),
        "cell_v_min": reading(3.281),
        "cell_v_max": reading(3.342),
        "alarms": ("over_temp_alarm", "contactor_error", "other_alarm", "other_warning"),
    }
    batteries = tuple(msgspec.structs.replace(b, **said) for b in snapshot.batteries)  # type: ignore[arg-type]
    changed = msgspec.structs.replace(snapshot, devices=devices, batteries=batteries)
    published = msgspec.structs.replace(model.published, snapshot=changed)
    view = Devices()
    view.model = model
    view.move(2)
    text = " ".join(" ".join(drawn(view, msgspec.structs.replace(model, published=published), 80, 22)).split())
    assert "contactor open, BMS: over temp alarm, contactor error, other alarm and 1 more" in text
    assert "isolation ok" in text
    view.move(-1)
    other = " ".join(drawn(view, msgspec.structs.replace(model, published=published), 80, 22))
    assert "contactor" not in other


def test_a_gateway_that_says_nothing_of_links_is_shown_as_before() -> None:
    """One of version 0.1.0 or 0.2.0, or in lock-step."""
    scene = scenes.read("pulse")
    lines = drawn(Devices(), received(Model(welcome=scene.welcome), scene.published), 80)
    assert lines[1].split()[:3] == ["grid", "answers", "0"]
    assert any("it does not say" in line for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_registers_of_a_device(model: Model, width: int) -> None:
    view = Devices()
    view.model = model
    view.move(2)
    assert view.open_selected() == "pcs1"
    assert view.open_selected() == "", "open already"
    assert "reading the registers of pcs1" in "\n".join(drawn(view, model, width))
    rows = tuple(device_scene.registers())
    known = msgspec.structs.replace(model, registers=rows, registers_of="pcs1")
    lines = drawn(view, known, width)
    assert lines[1].split() == ["1", "40000", "5375", *(["1s"] if width >= 72 else [])]
    view.filter_text = "701.w"
    (line,) = [line for line in drawn(view, known, width) if line.split()[3:4] == ["701.W"]]
    assert line.split() == ["1", "40080", "01F4", "701.W", *(["1s"] if width >= 72 else []), "5000", "W"]
    refused = msgspec.structs.replace(model, registers_of="pcs1", registers_note="pcs1 has no registers")
    view.filter_text = ""
    assert "pcs1 has no registers" in drawn(view, refused, width)[1]
    other = msgspec.structs.replace(model, registers=rows, registers_of="grid")
    assert "reading the registers" in drawn(view, other, width)[1], "those of another device are not shown"
    assert view.close_opened()
    assert not view.close_opened()
    assert isinstance(view.selected, type(model.published.snapshot.devices[0]))  # type: ignore[union-attr]
    assert view.selected.id == "pcs1", "the selection stays on the device"


@pytest.mark.parametrize("width", WIDTHS)
def test_what_has_been_proven_of_a_pcs(model: Model, width: int) -> None:
    view = Devices()
    view.model = model
    view.move(2)
    text = " ".join(" ".join(drawn(view, msgspec.structs.replace(model, proofs=proof_sample.proofs()), width)).split())
    assert "Proven reverts after 61 s, gain 1.00, proven 2026-03-12, firmware 3.51" in text
    assert "prove it again" not in text
    never = msgspec.structs.replace(model, proofs=proof_sample.proofs(None))
    assert "keeps a setpoint for more than 90 s" in " ".join(" ".join(drawn(view, never, width)).split())


def test_a_proof_of_another_firmware_is_told() -> None:
    identity = msgspec.structs.replace(proof_sample.HERE, firmware="4.0")
    device = DeviceHealth("pcs1", "pcs", True, 0.0, 9, 0, 0, identity=identity)
    said = proven_text(device, proof_sample.proofs(), "Europe/Oslo")
    assert said.endswith("; is now Stranger PCS 60 4711, firmware 4.0: half of its power, prove it again")
    changed = msgspec.structs.replace(device, proof=CHANGED)
    assert proven_text(changed, proof_sample.proofs(), "Europe/Oslo").endswith("prove it again by 2026-03-26")
    other = msgspec.structs.replace(device, id="pcs2")
    assert proven_text(other, proof_sample.proofs(), "UTC") == "not yet: skerry devices prove pcs2"
    assert proven_text(msgspec.structs.replace(other, kind="meter"), proof_sample.proofs(), "UTC") == ""


def test_on_a_wide_screen_names_are_whole_and_the_proof_is_in_the_list(model: Model) -> None:
    """A name is cut only where nothing beside it is free; the map is told below the list."""
    long = "battery-inverter-of-the-old-barn"  # an id has 32 characters at most, that of a node 63
    assert model.published is not None
    snapshot = model.published.snapshot
    renamed = tuple(
        msgspec.structs.replace(d, id=long, map="victron-gx") if d.id == "pcs1" else d for d in snapshot.devices
    )
    said = {None: "not proven", NOTE: "proven", CHANGED: "changed"}
    for proof, word in said.items():
        devices = tuple(msgspec.structs.replace(d, proof=proof) if d.id == long else d for d in renamed)
        published = msgspec.structs.replace(
            model.published, snapshot=msgspec.structs.replace(snapshot, devices=devices)
        )
        view = Devices()
        view.model = now = msgspec.structs.replace(model, published=published)
        view.move([d.id for d in devices].index(long))
        lines = drawn(view, now, 120, 22)
        row = next(line for line in lines if line.startswith(f" {long} "))
        assert f" {word} " in row
        assert lines[0].index("Proof") == row.index(f" {word} ") + 1
        assert "pcs by map victron-gx at" in "".join(lines)
        assert not any("Proof" in line for line in drawn(view, now, 80, 22))


def test_lists_give_their_names_what_a_wide_screen_has_more(model: Model) -> None:
    """At 80 columns they are as they were; the headers stand above what they name."""
    title = alarm_text("setpoint-not-followed:pcs1").title
    alarm = Alarm("setpoint-not-followed:pcs1", Priority.HIGH, AlarmState.UNACKNOWLEDGED, 0.0, first_out=True)
    assert model.published is not None
    published = msgspec.structs.replace(model.published, alarms=(alarm,))
    now = msgspec.structs.replace(model, published=published)
    for width in WIDTHS[1:]:
        view = AlarmList()
        view.model = now
        canvas = WatchedCanvas(width, 20)
        view.paint(canvas, now)
        header, row = (line.rstrip() for line in canvas.lines()[:2])
        assert header.index("State") == row.index(alarm_state_words(alarm.state))
        assert (f"{title} (first)" in row) == (width == 120 or len(title) <= 22)
    event = Event(0.0, "device", "warning", "battery-inverter-of-the-old-barn", "lost: no answer")
    for width, shown in ((80, "battery-inverte…  lost"), (120, "battery-inverter-of-the-old-barn  lost")):
        canvas = WatchedCanvas(width, 2)
        event_row(canvas, 0, event, "18:38:32", "UTC")
        assert shown in canvas.lines()[0]


def test_values_as_text() -> None:
    row = RegisterValue(1, 3, 7, (1, 2), 0.0, "701.W", 5000.0, "W")
    assert register_value_text(row) == "5000 W"
    assert register_value_text(msgspec.structs.replace(row, value=None)) == "—"
    assert register_value_text(msgspec.structs.replace(row, name="")) == ""
    assert raw_text((1, 2, 0xABCD, 4), 19) == "0001 0002 ABCD 0004"
    assert raw_text((1, 2, 3, 4, 5), 19) == "0001 0002 0003…"


async def test_keys_open_refresh_and_close_the_registers(eventually: Callable[..., Any]) -> None:
    client = RecordedClient(device_scene.device_scene())
    now_s = [100.0]

    async def connect() -> RecordedClient:
        return client

    app = SkerryApp(connect, monotonic=lambda: now_s[0])

    def asked() -> list[Any]:
        return [params for method, params in client.asked if method == "device.registers"]

    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: app.model.published is not None)
        await pilot.press("enter")  # in another view it does nothing
        await pilot.press("7")
        await eventually(pilot, lambda: bool(app.query("#view-devices")) and app._shown_view == "devices")
        await pilot.press("down", "down", "enter")
        await eventually(pilot, lambda: app.model.registers_of == "pcs1")
        assert asked() == [{"id": "pcs1"}]
        now_s[0] += 4.0
        await eventually(pilot, lambda: len(asked()) == 2)
        await pilot.press("escape")
        assert app.query_one(Devices).opened == ""
        await pilot.press("escape")
        await eventually(pilot, lambda: app._shown_view == "overview")
        assert len(asked()) == 2
