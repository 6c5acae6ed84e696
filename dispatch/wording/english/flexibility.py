"""What keeps an offer to a grid event from being larger."""

from __future__ import annotations

TEMPLATES = {
    "flexibility.power": "power of the battery, {battery_w:kw}",
    "flexibility.energy": "energy above the reserve, {stored_wh:kwh}",
    "flexibility.load": "load less PV at its lowest, {load_w:kw}",
    "flexibility.no_battery": "no battery",
    "flexibility.off_grid": "the site is not on the grid: nothing can be offered",
}
