"""What a gateway without a plan says when asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words
from gateway.api.queries import no_plan
from gateway.site.schema import Site


@dataclass
class Planning:
    enabled: bool = True


@dataclass
class Planned:
    """As much of a site as decides whether it is planned for."""

    plan: Planning
    battery: tuple[str, ...]


@pytest.mark.parametrize(
    ("enabled", "battery", "error", "why"),
    [
        (False, ("bat1",), None, "planning is switched off, [plan] enabled = false"),
        (True, (), None, "the site has no battery to plan for"),
        (True, ("bat1",), Reason("no_plan.unknown", {"missing": [Reason("quantity.soc")]}), "SoC not known"),
        (True, ("bat1",), None, "the first one waits for good readings of SoC, load and PV"),
    ],
)
def test_it_says_why(enabled: bool, battery: tuple[str, ...], error: Reason | None, why: str) -> None:
    site: Any = Planned(Planning(enabled), battery)
    assert words(no_plan(cast("Site", site), error)) == f"no plan is in force, the rules steer alone: {why}"
