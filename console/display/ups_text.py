"""Words for a UPS: its state, charge, runtime and load. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console.display.formats import age
from dispatch.model.equipment import Ups
from dispatch.wording.formatting import kw, minutes

UPS_WORDS = {  # of ups.status (NUT, docs/new-drivers.txt), as said to people
    "OL": "on line",
    "OB": "ON BATTERY",
    "LB": "BATTERY LOW",
    "FSD": "SHUTDOWN ORDERED",
    "RB": "replace battery",
    "OVER": "OVERLOAD",
    "BYPASS": "ON BYPASS",
    "OFF": "OUTPUT OFF",
    "CHRG": "charging",
    "DISCHRG": "discharging",
    "CAL": "calibrating",
    "TRIM": "trims voltage",
    "BOOST": "boosts voltage",
}


UNUSUAL = ("OB", "LB", "FSD", "RB", "OVER", "BYPASS", "OFF")


def ups_state(ups: Ups) -> str:
    """What its status says, in words; how long ago, where it does not answer any more."""
    if ups.status.value is None:
        return "status not known"
    said = ", ".join(UPS_WORDS.get(word, word) for word in ups.status.value.split())
    return said if ups.status.good is not None else f"{said} {age(ups.status.age_s)} ago"


def ups_texts(ups: Ups) -> Iterator[str]:
    """Its name and state; charge, runtime and load as far as they are known."""
    yield f"{ups.id} {ups_state(ups)}"
    if (charge_pct := ups.charge_pct.good) is not None:
        yield f"battery {charge_pct:.0f} %"
    if (runtime_s := ups.runtime_s.good) is not None:
        yield f"{minutes(runtime_s)} by its own estimate"
    if (w := ups.w.good) is not None:
        yield kw(w)
    if (load_pct := ups.load_pct.good) is not None:
        yield f"load {load_pct:.0f} %"
