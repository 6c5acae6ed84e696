"""Every recipe gives the requests that were worked out by hand from its sources."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from drivers.maps.loader import bundled, load
from drivers.maps.recipe import asked_w, power_terms, writes
from drivers.maps.schema import Recipe

VECTORS = Path(__file__).parent.parent / "vectors"
MAPS = [name for name in bundled() if load(name).recipe is not None]
RATINGS = {"charge_rated_w": 5000.0, "discharge_rated_w": 6000.0}


def commands(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((VECTORS / f"{name}.toml").read_text())["command"]
    return found


def requests(name: str, part: str, terms: dict[str, float]) -> list[list[object]]:
    device_map = load(name)
    recipe = device_map.recipe
    assert recipe is not None
    given = power_terms(asked_w(recipe, terms["want_w"]), **RATINGS, revert_s=60)
    made = writes(device_map, getattr(recipe, part), {**terms, **given})
    return [[write.function, write.at, write.address, list(write.words)] for write in made]


@pytest.mark.parametrize("name", MAPS)
def test_commands_give_the_requests_of_the_source(name: str) -> None:
    for command in commands(name):
        assert command["source"].strip()
        for part, key in (("set", "writes"), ("enter", "enter"), ("renew", "renew"), ("leave", "leave")):
            if key in command:
                assert requests(name, part, command["terms"]) == command[key], (key, command["terms"])


@pytest.mark.parametrize("name", MAPS)
def test_both_signs_and_zero_are_shown(name: str) -> None:
    wanted = [command["terms"]["want_w"] for command in commands(name)]
    assert min(wanted) < 0 < max(wanted)
    assert 0 in wanted


@pytest.mark.parametrize("name", MAPS)
def test_every_recipe_says_how_it_ends_and_what_is_protected(name: str) -> None:
    device_map = load(name)
    recipe = device_map.recipe
    assert isinstance(recipe, Recipe)
    assert recipe.leave
    assert recipe.revert_to or not recipe.revert_s
    assert device_map.protected.ranges
