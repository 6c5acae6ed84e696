"""What fuses and export limit let through, from the figures of a meter."""

from __future__ import annotations

import msgspec
import pytest
from small_site import site_config

from dispatch.control.import_limits import import_window
from dispatch.model.equipment import Meter
from dispatch.model.readings import reading

GRID = msgspec.structs.replace(site_config().grid, fuse_a=100, phases=3, voltage_v=230, export_limit_w=1e9)


def meter(volts: tuple[float | None, ...], amps: tuple[float | None, ...]) -> Meter:
    """One that gives power with a power factor of 1; where a voltage is missing, at 230 V."""
    w = sum((v or 230) * (a or 0) for v, a in zip(volts, amps, strict=True))
    return Meter("grid", w=reading(w), v=tuple(map(reading, volts)), a=tuple(map(reading, amps)))


@pytest.mark.parametrize(
    ("volts", "amps", "carries_w"),
    [
        ((230, 230, 230), (50, 50, 50), 100 * 230 * 3),
        ((230, 207, 230), (50, 50, 50), 100 * 207 * 3 - (3 * 50 * 230 - 50 * 667)),  # the fuse carries amperes: 207 V
        ((230, None, 230), (50, 50, 50), 100 * 230 * 3),
        ((230, 230, 230), (80, 50, 20), 100 * 230 * 3 - (3 * 80 - 150) * 230),
        ((230, 230, 230), (50, None, 50), 100 * 230 * 3),
    ],
)
def test_what_the_fuses_carry(
    volts: tuple[float | None, ...], amps: tuple[float | None, ...], carries_w: float
) -> None:
    lowest_w, highest_w, _ = import_window(meter(volts, amps), GRID)
    assert (lowest_w, highest_w) == (pytest.approx(-carries_w), pytest.approx(carries_w))


def test_the_export_limit() -> None:
    grid = msgspec.structs.replace(GRID, export_limit_w=5_000)
    assert import_window(meter((230, 230, 230), (50, 50, 50)), grid)[:2] == (-5_000, 69_000)
