"""What a BMS tells, in words: what is wrong first, what is not told left out, what is old marked."""

from __future__ import annotations

import msgspec

from console.display.battery_text import battery_faults, battery_text
from dispatch.model.equipment import Battery, alarm_words
from dispatch.model.readings import Quality, Status, reading, status

WELL = Battery(
    "bat1",
    contactor=status("closed"),
    isolation=status("ok"),
    isolation_ohm=reading(850_000.0),
    cooling=status("ok"),
    state=status("soc_protection"),
    cell_v_min=reading(3.281),
    cell_v_max=reading(3.342),
    cell_temp_min_c=reading(22.4),
    cell_temp_max_c=reading(24.6),
    charge_limit_a=reading(37.0),
    soh_pct=reading(98.6),
)


def test_a_battery_that_is_well() -> None:
    assert list(battery_faults(WELL)) == []
    assert battery_text(WELL) == (
        "contactor closed, isolation ok, cooling ok, soc protection, 850 kOhm to earth, cells 3.281..3.342 V, "
        "22..25 °C, charge up to 37 A, SoH 99 %"
    )
    assert battery_text(Battery("bat1")) == "its BMS tells nothing but the SoC"
    assert battery_text(Battery("bat1", temp_c=reading(21.0))) == "21 °C"


def test_faults_come_first_and_say_when_they_are_old() -> None:
    bad = msgspec.structs.replace(
        WELL,
        contactor=Status("open", 40.0, Quality.STALE),
        isolation=status("fault"),
        cooling=status("fault"),
        alarms=("over_temp_alarm", "contactor_error"),
    )
    faults = ["contactor open when last read", "isolation fault", "cooling fault"]
    faults.append("BMS: over temp alarm, contactor error")
    assert list(battery_faults(bad)) == faults
    assert battery_text(bad).startswith(", ".join(faults))


def test_alarms_fit_a_line_however_many_there_are() -> None:
    assert alarm_words(()) == ""
    assert alarm_words(("a_b",)) == "a b"
    assert alarm_words(tuple(f"alarm_{n}" for n in range(20))) == "alarm 0, alarm 1, alarm 2 and 17 more"
