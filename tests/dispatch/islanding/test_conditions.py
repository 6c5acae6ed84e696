"""What speaks against closing, against a black start, and for calling a site joined: each condition by itself."""

from __future__ import annotations

import pytest
from small_site import a_pcs, a_snapshot, site_config

from dispatch.islanding.load_shedding import DRAW_S, LoadShedding
from dispatch.islanding.observation import Bus, black_start_obstacle, contact_of, observation_of
from dispatch.islanding.reconnection import Reconnection
from dispatch.model.equipment import Switch
from dispatch.model.islanding import IslandRequest, IslandState
from dispatch.model.readings import Reading, reading, status
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot

CONFIG = site_config()
OURS = Bus("ours", Reason("found.nothing"))


def switch(position: str | None = "open", **changes: Reading) -> Switch:
    """One that measures a good grid and a bus in step with it."""
    figures = {"grid_v": reading(230.0), "grid_hz": reading(50.0), "delta_v": reading(0.0), "delta_deg": reading(0.0)}
    words = {"control": status("remote"), "grid_voltage": status("present"), "delta_hz": reading(0.0)}
    return Switch("pcc", position=status(position), **(figures | words | changes))  # type: ignore[arg-type]


def waited(reconnection: Reconnection, there: Switch) -> Snapshot:
    """The wait is over."""
    end_s = reconnection.wait_s + 1
    for t_s in (0.0, end_s):
        reconnection.update(a_snapshot(t_s, switches=(there,)), there, "open")
    return a_snapshot(end_s, switches=(there,))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("figure", "much", "little"), [("delta_v", 50, 1), ("delta_hz", 1, 0.01), ("delta_deg", 40, 1)]
)
def test_out_of_step_to_either_side(figure: str, much: float, little: float, side: int) -> None:
    reconnection = Reconnection(CONFIG)
    there = switch(**{figure: reading(side * much)})
    against = reconnection.obstacle(waited(reconnection, there), there, OURS)
    assert against is not None
    assert (against.code, against.figures["differs"]) == ("close.out_of_step", side * much)
    there = switch(**{figure: reading(side * little)})
    assert reconnection.obstacle(waited(Reconnection(CONFIG), there), there, OURS) is None


def test_a_grid_that_goes_right_after_it_came_back_makes_the_next_wait_longer() -> None:
    """Also when the switch was open before we looked. Gone as late as `flap_s`, it had stayed."""
    flap_s = CONFIG.island.flap_s
    for lasted_s, failures in ((flap_s - 1, 1), (flap_s, 0)):
        reconnection = Reconnection(CONFIG)
        reconnection.note_joined(100.0)
        assert reconnection.note_lost(100.0 + lasted_s) == bool(failures)
        assert reconnection.failures == failures


@pytest.mark.parametrize(
    ("positions", "contact"),
    [
        (("closed", "closed"), "closed"),
        (("closed", "open"), "open"),
        (("closed", "moving"), "moving"),
        (("closed", None), None),
        ((None, "closed"), None),
        ((), None),
    ],
)
def test_switches_in_series(positions: tuple[str | None, ...], contact: str | None) -> None:
    switches = tuple(Switch(f"s{n}", position=status(word)) for n, word in enumerate(positions))
    assert contact_of(a_snapshot(switches=switches)) == contact


def test_a_black_start_takes_an_engineer_s_word() -> None:
    dead = a_pcs(0.0, state=status("off"), connection=status("disconnected"), v=reading(0.0))
    seen = observation_of(CONFIG, a_snapshot(0.0, None, dead, switches=(switch(grid_voltage=status("absent")),)))
    codes = []
    for confirmed in (False, True):
        request = IslandRequest(id="r", kind="black-start", who="alice", confirmed=confirmed)
        against = black_start_obstacle(IslandState.BLACKOUT, request, seen, 60.0, CONFIG.grid.voltage_v)
        codes.append(None if against is None else against.code)
    assert codes == ["start.not_confirmed", None]


def test_the_draw_is_smoothed_over_time() -> None:
    shedding = LoadShedding(CONFIG)
    for t_s in range(1_000, 1_000 + round(4 * DRAW_S)):
        shedding.step(a_snapshot(float(t_s), 0.0, a_pcs(10_000.0), switch="open"), True, IslandState.ISLANDED)
    step = shedding.step(
        a_snapshot(1_000 + round(4 * DRAW_S), 0.0, a_pcs(20_000.0), switch="open"), True, IslandState.ISLANDED
    )
    assert step.view.draw_w == pytest.approx(10_000 + 10_000 / DRAW_S, rel=0.1)
