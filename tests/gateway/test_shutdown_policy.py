"""When a gateway may end with its console, and when it must not."""

from __future__ import annotations

import pytest

from dispatch.model.islanding import IslandState
from gateway.shutdown_policy import reason_to_stay

S = IslandState


@pytest.mark.parametrize("state", list(S))
def test_off_the_grid_a_real_sites_gateway_goes_on(state: IslandState) -> None:
    joined = state in (S.GRID_TIED, S.PREPARING, S.UNKNOWN)
    assert bool(reason_to_stay(state, False, simulated=False)) is not joined
    assert reason_to_stay(state, False, simulated=True) == "", "an outage on a twin ends with it"
    assert reason_to_stay(state, True, simulated=True) == "a drill is under way"
