"""Defines the names that a device map may give values, their units and words, and the terms of setpoint recipes.

Powers follow the signs of the site: a meter's `w` > 0 is import, a PCS's and battery's > 0 discharges, PV is >= 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["meter", "pcs", "battery", "pv", "switch", "node"]

OWN = "x_"  # prefix of a value that only sums and recipes of its own map use


class Number(NamedTuple):
    """A number in this unit."""

    unit: str


class Word(NamedTuple):
    """One of these words."""

    words: frozenset[str]


class Bits(NamedTuple):
    """The names of a bit field's set bits; the map chooses the names."""


class Text(NamedTuple):
    """A text, such as a serial number."""


Meaning = Number | Word | Bits | Text

# unit -> (unit of the vocabulary, factor to it)
UNITS: dict[str, tuple[str, float]] = {
    "W": ("W", 1.0),
    "kW": ("W", 1e3),
    "MW": ("W", 1e6),
    "var": ("var", 1.0),
    "kvar": ("var", 1e3),
    "VA": ("VA", 1.0),
    "kVA": ("VA", 1e3),
    "mV": ("V", 1e-3),
    "V": ("V", 1.0),
    "kV": ("V", 1e3),
    "mA": ("A", 1e-3),
    "A": ("A", 1.0),
    "kA": ("A", 1e3),
    "mHz": ("Hz", 1e-3),
    "Hz": ("Hz", 1.0),
    "Wh": ("Wh", 1.0),
    "kWh": ("Wh", 1e3),
    "MWh": ("Wh", 1e6),
    "%": ("%", 1.0),
    "degC": ("degC", 1.0),
    "ms": ("s", 1e-3),
    "s": ("s", 1.0),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "deg": ("deg", 1.0),
    "Ohm": ("Ohm", 1.0),
    "kOhm": ("Ohm", 1e3),
    "1": ("1", 1.0),  # a pure number: a count, a ratio, a flag
}


def _numbers(**units: str) -> dict[str, Meaning]:
    return {name: Number(unit) for name, unit in units.items()}


def _word(*words: str) -> Word:
    return Word(frozenset(words))


PHASES = ("l1", "l2", "l3")
TEXTS: dict[str, Meaning] = {name: Text() for name in ("maker", "model", "serial", "firmware")}

METER: dict[str, Meaning] = {
    **_numbers(w="W", var="var", va="VA", pf="1", hz="Hz", import_wh="Wh", export_wh="Wh"),
    **{f"{quantity}_{p}": Number(unit) for quantity, unit in (("w", "W"), ("v", "V"), ("a", "A")) for p in PHASES},
}
BATTERY: dict[str, Meaning] = {
    # limits, of the BMS or of the battery's settings: at the battery's terminals, DC
    **_numbers(battery_w="W", soc_pct="%", soh_pct="%", energy_wh="Wh", battery_v="V", battery_a="A"),
    **_numbers(charge_limit_w="W", discharge_limit_w="W", charge_limit_a="A", discharge_limit_a="A"),
    **_numbers(battery_temp_c="degC", isolation_ohm="Ohm"),
    **_numbers(cell_v_min="V", cell_v_max="V", cell_temp_min_c="degC", cell_temp_max_c="degC"),
    "battery_state": _word("disconnected", "initializing", "connected", "standby", "protection", "suspended", "fault"),
    "contactor": _word("open", "closed"),
    "isolation": _word("ok", "fault"),
    "cooling": _word("ok", "fault"),
    "battery_alarms": Bits(),
}
PCS: dict[str, Meaning] = {
    # w: at the AC terminals, without PV. Where a map has none, it is worked out of battery_w (DC) and of ac_w, the AC
    # power of the whole inverter. pv_w: DC power of the PV on this inverter.
    **_numbers(w="W", v="V", hz="Hz", setpoint_w="W", setpoint_enabled="1", temp_c="degC"),
    **_numbers(revert_remaining_s="s", revert_after_s="s", ac_w="W"),
    **_numbers(pv_w="W", ac_out_w="W", rated_w="W", charge_rated_w="W", discharge_rated_w="W"),
    **{f"{quantity}_{p}": Number("W") for quantity in ("w", "ac_out_w") for p in PHASES},
    "state": _word("off", "sleeping", "starting", "running", "throttled", "shutting_down", "fault", "standby"),
    "connection": _word("connected", "disconnected"),
    "mode": _word("grid_following", "grid_forming"),
    "control": _word("remote", "local"),
    "alarms": Bits(),
    **BATTERY,
}
PV: dict[str, Meaning] = {
    **_numbers(w="W", limit_pct="%", rated_w="W", limit_timeout_s="s"),
    "control": _word("remote", "local"),  # remote: it takes limits by communication
    "limit_end": _word("fallback", "kept"),  # what it does when no limit comes for limit_timeout_s
    "state": _word("off", "sleeping", "starting", "running", "throttled", "shutting_down", "fault", "standby"),
}
SWITCH: dict[str, Meaning] = {
    "position": _word("moving", "open", "closed"),
    "contact_no": _word("open", "closed"),
    "contact_nc": _word("open", "closed"),
    "control": _word("remote", "local", "automatic", "inhibited"),  # inhibited: neither by itself nor by an order
    "source": _word("grid", "genset", "none", "unknown"),
    "grid_contact": _word("open", "closed"),  # of a transfer switch that tells each side by itself
    "genset_contact": _word("open", "closed"),
    "off_contact": _word("open", "closed"),  # of its position between the two
    "grid_voltage": _word("absent", "present"),
    "genset_voltage": _word("absent", "present"),
    "command": _word("none", "open", "close"),
    **_numbers(transfer_s="s", faults="1", grid_v="V", grid_hz="Hz", delta_v="V", delta_hz="Hz", delta_deg="deg"),
}
NODE: dict[str, Meaning] = {
    **_numbers(power_w="W", cpu_pct="%", memory_pct="%", gpus_total="1", gpus_busy="1", power_cap_w="W"),
    "suspended": _word("no", "yes", "off"),
}
VOCABULARY: dict[Kind, dict[str, Meaning]] = {
    "meter": METER | TEXTS,
    "pcs": PCS | TEXTS,
    "battery": BATTERY | TEXTS,
    "pv": PV | TEXTS,
    "switch": SWITCH | TEXTS,
    "node": NODE | TEXTS,
}
NEEDED: dict[Kind, tuple[str, ...]] = {  # of these the first that a map has is the value without which nothing is read
    "meter": ("w",),
    "pcs": ("w", "battery_w"),
    "battery": ("soc_pct",),
    "pv": ("w",),
    "switch": ("source", "grid_contact", "position"),
    "node": ("power_w",),
}
SWITCH_WRITES: dict[str, frozenset[str]] = {  # what a switch may be told by [write.NAME]
    "command": frozenset({"none", "open", "close"}),
    "control": frozenset({"remote", "automatic"}),
}
PV_POWER: dict[Kind, str] = {"pv": "w", "pcs": "pv_w"}  # by which value a [[pv]] is read; a PCS's map: of a hybrid

TERMS = frozenset(
    (
        "want_w",  # wanted power of the PCS at its AC terminals, > 0 discharges
        "charge_dc_w",  # the same at the battery's terminals, by the efficiency of the site file
        "discharge_dc_w",
        "charge_w",  # max(-want_w, 0)
        "discharge_w",  # max(want_w, 0)
        *(f"want_w_{p}" for p in PHASES),  # want_w / number of phases
        "pv_w",
        "ac_out_w",
        *(f"ac_out_w_{p}" for p in PHASES),
        "rated_w",
        "charge_rated_w",
        "discharge_rated_w",
        "revert_s",
        "one",
    )
)
MEASURED_TERMS = TERMS & PCS.keys()  # values of the map, unless the site file says them (ratings)
