"""Every widget can be drawn at any size: Textual lays out a terminal's lines before it hides what does not fit."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import scenes

import console.tui
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.diff_widget import DiffWidget
from console.tui.list_view import ListView
from console.tui.order_form import OrderForm

ABSTRACT = {"ListView", "EnergyFlow"}
NEEDS_APP = {"TooSmall"}  # it asks the app for the size of the terminal
SIZES = [(width, height) for width in (1, 2, 9, 20, 40, 59, 60, 79) for height in (1, 5, 16)]


def widgets() -> dict[str, type[DiffWidget]]:
    """Every widget of the console by its name."""
    for module in pkgutil.iter_modules(console.tui.__path__):
        importlib.import_module(f"console.tui.{module.name}")
    found, waiting = {}, [DiffWidget]
    while waiting:
        for widget in waiting.pop().__subclasses__():
            found[widget.__name__] = widget
            waiting.append(widget)
    return {name: found[name] for name in sorted(found.keys() - ABSTRACT - NEEDS_APP)}


WIDGETS = widgets()


@pytest.fixture(scope="module")
def models() -> list[Model]:
    """Before the first snapshot, and what some scenes show."""
    known = [
        received(Model(welcome=scene.welcome, plan=scene.plan, events=scene.events), scene.published)
        for scene in map(scenes.read, ("calm", "order", "outage"))
    ]
    return [Model(), *known]


@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_draws_at_any_size(name: str, models: list[Model]) -> None:
    for model in models:
        for width, height in SIZES:
            canvas = Canvas(width, height)
            WIDGETS[name]().paint(canvas, model)
            assert all(len("".join(row)) <= width for row in canvas.text)


def test_every_view_is_among_them() -> None:
    assert WIDGETS.keys() >= {"Footer", "PlanView", "Island", "Compute", "EventLog", "HelpPage", "Prompt"}
    assert issubclass(WIDGETS["AlarmList"], ListView)
    assert WIDGETS["OrderForm"] is OrderForm
