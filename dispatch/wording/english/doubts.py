"""What is said of readings that are not believed."""

from __future__ import annotations

TEMPLATES = {
    "doubt.power_range": "{reading} {value_w:kw} is outside {low_w:kw} to {high_w:kw} (site file: {key})",
    "doubt.range": "{reading} {value:.4g} {unit} is outside {low:.4g} to {high:.4g} {unit} (site file: {key})",
    "doubt.block": "{reading}: other figures of the same answer cannot be true",
    "doubt.apparent": "{reading} {value_w:kw} is more than volts times amperes of the same answer, {product_w:kw}",
    "doubt.step": "{reading} {value_w:kw} after {last_w:kw}: no second sample showed it",
    "doubt.flipped": "{reading} {value_w:kw} after {last_w:kw}: the same with the other sign",
    "doubt.negative_load": (
        "{reading} {value_w:kw} after {last_w:kw}: the sign has changed, and with PCS and PV the site's load would be "
        "{load_w:kw}"
    ),
    "doubt.balance": (
        "{reading} {value_w:kw}: grid, PCS, PV and load meter are {apart_w:kw} further apart than before, "
        "{allowed_w:kw} allowed"
    ),
    "doubt.unseen": "{reading} {value_w:kw} after {last_w:kw}: neither grid meter nor load meter shows this step",
    "doubt.unseen_load": "{reading} {value_w:kw} after {last_w:kw}: the load meter does not show this step",
    "doubt.jump": "{reading} {value:.4g} {unit} after {last:.4g} {unit}: no second sample showed it",
    "doubt.current": (
        "current L{phase} {value_a:.4g} A after {last_a:.4g} A: power shows no such step, and no second sample did"
    ),
    "doubt.word": "{reading} reads {word}: other devices show that it cannot be",
    "pcs.off_grid_doubted": "a device says the site is islanded or dark, others that it is not: nothing is written",
    "doubt.dead": "{volts:.0f} V on a side of the switch that other devices report live (site file: [[meter]] side)",
    "doubt.first": "{reading}: first sample, to be confirmed by a second",
    "pcs.may_form": (
        "no switch tells what feeds the site, and the values of {pcs} stand still for {still_s:.0f} s: "
        "it may be forming the grid, nothing is written"
    ),
    "pcs.may_form_unmoved": (
        "no switch tells what feeds the site, and no value of {pcs} has changed yet: "
        "it may be forming the grid, nothing is written"
    ),
    "pcs.unconfirmed": "{pcs} has just been read for the first time: a second sample must confirm it",
    "pcs.meter_unconfirmed": "{meter} has just been read for the first time: a second sample must confirm it",
}
