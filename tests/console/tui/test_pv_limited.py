"""The overview counts the PV inverters that are limited."""

from __future__ import annotations

import msgspec

from console.tui.overview_panels import pv_limited_text
from dispatch.model.decision import PvLimit
from dispatch.model.reasons import plain
from tests.console.cli.conftest import DECISION


def test_only_limited_inverters_are_counted() -> None:
    assert pv_limited_text(DECISION) == ""
    limits = tuple(PvLimit(f"pv{n}", w, plain("test")) for n, w in enumerate((0.0, 7_000.0, None)))
    assert pv_limited_text(msgspec.structs.replace(DECISION, pv_limits=limits)) == "  PV limited 2"
