"""Words for what a BMS tells of its battery: cells, temperatures, contactor, isolation, cooling, alarms. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.model.equipment import Battery, alarm_words
from dispatch.model.readings import Reading, Status


def battery_faults(battery: Battery) -> Iterator[str]:
    """What is not as it should be; nothing for a battery that is well, or does not say."""
    if battery.contactor.value == "open":
        yield f"contactor open{_old(battery.contactor)}"
    if battery.isolation.value == "fault":
        yield f"isolation fault{_old(battery.isolation)}"
    if battery.cooling.value == "fault":
        yield f"cooling fault{_old(battery.cooling)}"
    if battery.alarms:
        yield f"BMS: {alarm_words(battery.alarms)}"


def battery_text(battery: Battery) -> str:
    """All that its BMS tells beside the SoC, what is wrong first; what it does not tell is left out."""
    said = [*battery_faults(battery), *_states(battery), *_figures(battery)]
    return ", ".join(said) or "its BMS tells nothing but the SoC"


def _states(battery: Battery) -> Iterator[str]:
    for name, status, well in (
        ("contactor", battery.contactor, "closed"),
        ("isolation", battery.isolation, "ok"),
        ("cooling", battery.cooling, "ok"),
    ):
        if status.value == well:
            yield f"{name} {well}{_old(status)}"
    if (state := battery.state).value is not None:
        yield f"{state.value.replace('_', ' ')}{_old(state)}"


def _figures(battery: Battery) -> Iterator[str]:
    if (ohm := battery.isolation_ohm.good) is not None:
        yield f"{ohm / 1000:.0f} kOhm to earth"
    if cells := _span(battery.cell_v_min, battery.cell_v_max, 3):
        yield f"cells {cells} V"
    if warm := _span(battery.cell_temp_min_c, battery.cell_temp_max_c, 0):
        yield f"{warm} °C"
    elif (temp_c := battery.temp_c.good) is not None:
        yield f"{temp_c:.0f} °C"
    for name, amps in (("charge", battery.charge_limit_a.good), ("discharge", battery.discharge_limit_a.good)):
        if amps is not None:
            yield f"{name} up to {amps:g} A"
    if (soh := battery.soh_pct.good) is not None:
        yield f"SoH {soh:.0f} %"


def _span(low: Reading, high: Reading, digits: int) -> str:
    if low.good is None or high.good is None:
        return ""
    return f"{low.good:.{digits}f}..{high.good:.{digits}f}"


def _old(status: Status) -> str:
    return "" if status.good is not None else " when last read"
