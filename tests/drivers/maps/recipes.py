"""Device maps with a recipe given as plain tables, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from drivers.maps.schema import Access, DeviceMap, MapInfo, Protected, Recipe


def map_with(recipe: dict[str, Any], **access: Any) -> tuple[DeviceMap, Recipe]:
    """A map that is nothing but this recipe, and the recipe. Registers 650..655 are protected."""
    made = msgspec.convert(recipe, Recipe)
    info = MapInfo(name="some", title="Some device", kind="pcs", sources=("by hand",), no_identity="none")
    protected = Protected(ranges=((650, 655, "start, stop"),))
    return DeviceMap(path=Path("some.toml"), info=info, access=Access(**access), protected=protected, recipe=made), made
