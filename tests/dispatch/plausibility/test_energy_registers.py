"""A meter whose power is forged on its way: its own energy registers tell, and those of an honest one do not."""

from __future__ import annotations

import random

import msgspec
import pytest
from small_site import a_pcs, a_snapshot, site_config

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.control.controller import Controller
from dispatch.model.equipment import Meter
from dispatch.model.readings import reading
from dispatch.plausibility.energy_registers import EnergyRegisters
from dispatch.wording.catalogue import words


def run(minutes: float, forged_w: float = 0.0, resolution_wh: float = 1.0, noise_w: float = 0.0) -> EnergyRegisters:
    """A meter that really sees 20 kW, and is read five times a second."""
    chance, check, true_wh = random.Random(1), EnergyRegisters(), 0.0
    for n in range(round(minutes * 300)):
        w = 20_000.0 + chance.uniform(-noise_w, noise_w)
        true_wh += w * 0.2 / 3600
        shown_wh = true_wh // resolution_wh * resolution_wh
        meter = Meter("grid", w=reading(w + forged_w), import_wh=reading(shown_wh), export_wh=reading(0.0))
        check.update(n * 0.2, (meter,))
    return check


def test_a_forged_power_is_noticed_within_minutes_with_its_figures() -> None:
    assert run(9.0, forged_w=-8_000).found == ()
    (found,) = run(11.0, forged_w=-8_000).found
    assert found.counted_wh == pytest.approx(1_000, rel=0.02)
    assert found.register_wh == pytest.approx(1_667, rel=0.02)


@pytest.mark.parametrize(("resolution_wh", "noise_w"), [(1.0, 15_000.0), (10.0, 0.0), (1000.0, 0.0)])
def test_an_honest_meter_is_not(resolution_wh: float, noise_w: float) -> None:
    assert run(30.0, resolution_wh=resolution_wh, noise_w=noise_w).found == ()


@pytest.mark.parametrize(("every_s", "late_s"), [(60, 20), (200, 0), (900, 30)])
def test_nor_one_whose_registers_count_seldom(every_s: int, late_s: int) -> None:
    """By night it showed how fine they are; then much is drawn between two of their steps."""
    chance, check, true_wh, shown_wh, due_s = random.Random(1), EnergyRegisters(), 0.0, 0.0, 0.0
    for t_s in range(3 * 3600):
        w = 300.0 if t_s < 3600 else 120_000.0
        true_wh += w / 3600
        if t_s >= due_s:
            shown_wh, due_s = true_wh // 1, t_s + every_s + chance.randint(0, late_s)
        check.update(t_s, (Meter("grid", w=reading(w), import_wh=reading(shown_wh), export_wh=reading(0.0)),))
        assert check.found == ()


def test_registers_that_stand_still_are_noticed_within_the_hour() -> None:
    check = EnergyRegisters()
    for t_s in range(2100):
        check.update(t_s, (Meter("grid", w=reading(20_000.0), import_wh=reading(5.0), export_wh=reading(0.0)),))
    assert [found.register_wh for found in check.found] == [0.0]


def test_it_ends_with_the_forging_and_a_gap_begins_anew() -> None:
    check = run(11.0, forged_w=-8_000)
    wh = 20_000 * 11 / 60
    for n in range(6 * 300):
        t_s = 660 + n * 0.2
        wh += 20_000 * 0.2 / 3600
        meter = Meter("grid", w=reading(20_000.0), import_wh=reading(wh), export_wh=reading(0.0))
        check.update(t_s, (meter,))
    assert check.found == ()
    later = msgspec.structs.replace(meter, import_wh=reading(wh + 50_000))
    check.update(t_s + 3_600, (later,))
    check.update(t_s + 3_900, (later,))
    assert check.found == ()


def test_the_controller_raises_the_alarm() -> None:
    controller, config, t_s, wh = Controller(site_config()), site_config(), 0.0, 0.0
    while t_s < 700:
        wh += 2 * 30_000 / 3600
        snapshot = a_snapshot(t_s, 20_000, a_pcs(0.0))
        grid = msgspec.structs.replace(snapshot.grid, import_wh=reading(wh), export_wh=reading(0.0))
        snapshot = msgspec.structs.replace(snapshot, grid=grid)
        decision = controller.step(snapshot, None)
        t_s += 2.0
    alarm = conditions(snapshot, decision, Facts(config=config))[f"meter-energy:{grid.id}"]
    assert alarm.active
    assert words(alarm.detail) == "by its power 1.7 kWh, by its registers 2.5 kWh in 5 min"
