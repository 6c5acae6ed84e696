"""What the console draws of recorded scenes, compared with screenshots/*.svg."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import scenes
from alarm_scene import alarm_scene
from device_scene import device_scene
from recorded_client import RecordedClient

from console.display.language_choice import ENGLISH, Shown, available
from console.tui.app import SkerryApp
from console.tui.order_form import Stage

PICTURES = {
    "overview_80x24": ("calm", (80, 24), ""),
    "overview_120x40": ("calm", (120, 40), ""),
    "overview_pulse": ("pulse", (80, 24), ""),
    "overview_stale": ("stale", (80, 24), ""),
    "overview_de": ("calm", (80, 24), ""),
    "overview_zh_CN": ("calm", (80, 24), ""),
    "overview_no_color": ("alarms", (80, 24), ""),
    "compute": ("pulse", (80, 24), "2"),
    "plan_80x24": ("calm", (80, 24), "3" + 10 * " shift+right"),
    "plan_120x40": ("pulse", (120, 40), "3 shift+right shift+right right"),
    "island_drill_80x24": ("drill", (80, 24), "4"),
    "island_drill_120x40": ("drill", (120, 40), "4"),
    "island_checks": ("drilled", (80, 24), "4"),
    "island_outage": ("outage", (80, 24), "4"),
    "overview_islanded": ("outage", (80, 24), ""),
    "overview_no_color_drill": ("drill", (80, 24), ""),
    "order_strip": ("order", (80, 24), f"i {' '.join('10kW')} tab tab {' '.join('meter')} enter y e"),
    "alarms": ("alarms", (80, 24), "5"),
    "alarms_shelved_80x24": ("shelved", (80, 24), "5 down"),
    "alarms_shelved_120x40": ("shelved", (120, 40), "5 down"),
    "alarm_history_80x24": ("shelved", (80, 24), "w down"),
    "alarm_history_120x40": ("shelved", (120, 40), "w down"),
    "log": ("alarms", (80, 24), "6"),
    "log_120x40": ("outage", (120, 40), "6"),
    "log_audit": ("drilled", (80, 24), "6 slash t e c h 1 enter down down"),
    "devices": ("devices", (80, 24), "7"),
    "devices_registers": ("devices", (120, 40), "7 down down enter down down"),
    "help": ("calm", (80, 24), "question_mark"),
    "palette": ("calm", (80, 24), "colon"),
}
MADE_SCENES = {"devices": device_scene, "shelved": alarm_scene}
OPENED = {
    "2": "compute",
    "3": "plan",
    "4": "island",
    "5": "alarms",
    "6": "log",
    "w": "alarm_history",
    "7": "devices",
    "question_mark": "help",
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, gallery: Callable[..., None], eventually: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, size, keys = PICTURES[name]
    key, *moves = keys.split() or [""]
    monkeypatch.setattr(
        Shown, "locale", next((locale for locale in available() if name.endswith(f"_{locale}")), ENGLISH)
    )
    if "no_color" in name:
        monkeypatch.setenv("NO_COLOR", "1")
    client = RecordedClient(MADE_SCENES[scene]() if scene in MADE_SCENES else scenes.read(scene))

    async def connect() -> RecordedClient:
        return client

    async def ready(pilot: Any) -> None:
        await eventually(pilot, lambda: "decisions" in [method for method, _ in client.asked])
        if key:
            await pilot.press(key)
        if key in OPENED:
            await eventually(pilot, lambda: bool(pilot.app.query(f"#view-{OPENED[key]}")))
            await eventually(pilot, lambda: not pilot.app.query_one("#view-overview").display)
        if key == "4" and "drill.check" in client.scene.answers:
            await eventually(pilot, lambda: pilot.app.model.checks != ())
        if key == "w":
            await eventually(pilot, lambda: pilot.app.model.alarm_history != ())
        for move in moves:
            await pilot.press(move)
            if move == "enter" and pilot.app.order_form.display:
                await eventually(pilot, lambda: pilot.app.order_form.stage is Stage.CONFIRM)
            elif move == "enter" and key == "7":
                await eventually(pilot, lambda: pilot.app.model.registers != ())

    app = SkerryApp(connect, monotonic=lambda: 100.0)
    gallery(name, app, size, ready)
