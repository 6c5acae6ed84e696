"""Words for what a BMS tells of its battery: cells, temperatures, contactor, isolation, cooling, alarms. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console.display.language import say
from dispatch.model.equipment import Battery, alarm_words
from dispatch.model.readings import Reading, Status


def battery_faults(battery: Battery) -> Iterator[str]:
    """What is not as it should be; nothing for a battery that is well, or does not say."""
    if battery.contactor.value == "open":
        yield _seen("battery.contactor_open", battery.contactor)
    if battery.isolation.value == "fault":
        yield _seen("battery.isolation_fault", battery.isolation)
    if battery.cooling.value == "fault":
        yield _seen("battery.cooling_fault", battery.cooling)
    if battery.alarms:
        yield say("battery.bms", alarms=alarm_words(battery.alarms))


def battery_text(battery: Battery) -> str:
    """All that its BMS tells beside the SoC, what is wrong first; what it does not tell is left out."""
    said = [*battery_faults(battery), *_states(battery), *_figures(battery)]
    return ", ".join(said) or say("battery.nothing")


def _states(battery: Battery) -> Iterator[str]:
    for code, status, well in (
        ("battery.contactor_closed", battery.contactor, "closed"),
        ("battery.isolation_ok", battery.isolation, "ok"),
        ("battery.cooling_ok", battery.cooling, "ok"),
    ):
        if status.value == well:
            yield _seen(code, status)
    if (state := battery.state).value is not None:
        yield _dated(state.value.replace("_", " "), state)


def _figures(battery: Battery) -> Iterator[str]:
    if (ohm := battery.isolation_ohm.good) is not None:
        yield say("battery.to_earth", kohm=f"{ohm / 1000:.0f}")
    if cells := _span(battery.cell_v_min, battery.cell_v_max, 3):
        yield say("battery.cells", v=cells)
    if warm := _span(battery.cell_temp_min_c, battery.cell_temp_max_c, 0):
        yield f"{warm} °C"
    elif (temp_c := battery.temp_c.good) is not None:
        yield f"{temp_c:.0f} °C"
    if (amps := battery.charge_limit_a.good) is not None:
        yield say("battery.charge_up_to", a=f"{amps:g}")
    if (amps := battery.discharge_limit_a.good) is not None:
        yield say("battery.discharge_up_to", a=f"{amps:g}")
    if (soh := battery.soh_pct.good) is not None:
        yield f"SoH {soh:.0f} %"


def _span(low: Reading, high: Reading, digits: int) -> str:
    if low.good is None or high.good is None:
        return ""
    return f"{low.good:.{digits}f}..{high.good:.{digits}f}"


def _seen(code: str, status: Status) -> str:
    return _dated(say(code), status)


def _dated(text: str, status: Status) -> str:
    """What a status says, and whether that is no longer so for sure."""
    return text if status.good is not None else say("battery.last_read", what=text)
