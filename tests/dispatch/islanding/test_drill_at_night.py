"""A drill at night: an inverter that was asleep when it began is no loss of communication, one that falls silent is."""

from __future__ import annotations

import msgspec
import pytest
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.islanding.drill import Drill
from dispatch.model.equipment import Pv
from dispatch.model.islanding import IslandRequest
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot

REQUEST = IslandRequest(id="d1", kind="drill", who="tech1", reason="monthly test", minutes=10)
BUS = {"v": reading(230.0), "hz": reading(50.0), "discharge_limit_w": reading(60_000.0)}


def seen(t_s: float, pv: Pv) -> Snapshot:
    """The islanded site at `t_s`, everything but the PV read."""
    battery = a_battery(60.0, discharge_limit_w=reading(60_000.0))
    return a_snapshot(t_s, 0.0, a_pcs(20_000.0, **BUS), battery, "open", pv=(pv,))


@pytest.mark.parametrize("asleep", [True, False])
def test_only_an_inverter_that_answered_at_the_start_must_go_on(asleep: bool) -> None:
    begun = seen(0.0, Pv("pv1", w=reading(0.0), asleep=asleep))
    config = msgspec.structs.replace(site_config(), switches=("pcc",))
    drill = Drill(config, REQUEST, (), begun)
    for t_s in range(1, 31):
        drill.update(seen(float(t_s), Pv("pv1")), islanded=True)
    communication = drill.criteria[0]
    assert communication.ok is asleep
    assert (drill.failure is None) is asleep
