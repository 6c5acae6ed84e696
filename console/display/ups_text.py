"""Words for a UPS: its state, charge, runtime and load. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console.display.formats import age
from console.display.language import say, say_of
from dispatch.model.equipment import Ups
from dispatch.wording.formatting import kw, minutes

# Words of ups.status (NUT, docs/new-drivers.txt) that are not of a UPS that is well; each is a label `ups.…`.
UNUSUAL = ("OB", "LB", "FSD", "RB", "OVER", "BYPASS", "OFF")


def ups_state(ups: Ups) -> str:
    """What its status says, in words; how long ago, where it does not answer any more."""
    if ups.status.value is None:
        return say("ups.not_known")
    said = ", ".join(say_of("ups", word) for word in ups.status.value.split())
    return said if ups.status.good is not None else say("ups.ago", what=said, age=age(ups.status.age_s))


def ups_texts(ups: Ups) -> Iterator[str]:
    """Its name and state; charge, runtime and load as far as they are known."""
    yield f"{ups.id} {ups_state(ups)}"
    if (charge_pct := ups.charge_pct.good) is not None:
        yield say("ups.battery", pct=f"{charge_pct:.0f}")
    if (runtime_s := ups.runtime_s.good) is not None:
        yield say("ups.estimate", span=minutes(runtime_s))
    if (w := ups.w.good) is not None:
        yield kw(w)
    if (load_pct := ups.load_pct.good) is not None:
        yield say("ups.load", pct=f"{load_pct:.0f}")
