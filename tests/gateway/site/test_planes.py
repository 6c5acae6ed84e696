"""`[[plane]]` of a site file: whose panels they are, and that they add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_site_file import document, errors_of

from dispatch.planning.pipeline import PlanSource, pv_site
from gateway.site import loader

PLACE = {"name": "Farm", "latitude_deg": 48.1, "longitude_deg": 11.6}
PV = {"id": "roof", "url": "tcp://10.0.0.9:502", "peak_w": "30 kW"}
EAST = {"pv": "roof", "tilt_deg": 15, "azimuth_deg": 90, "peak_w": "10 kW"}
WEST = {"pv": "roof", "tilt_deg": 15, "azimuth_deg": 270, "peak_w": "20.1 kW"}


def with_planes(*planes: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return document() | {"site": PLACE, "pv": [PV], "plane": list(planes)} | sections


def test_several_planes_of_an_inverter_are_forecast_by_the_sun() -> None:
    config = loader.compose(Path("x.toml"), with_planes(EAST, WEST)).dispatch
    panels = pv_site(config, "roof")
    assert panels is not None
    assert [plane.azimuth_deg for plane in panels.planes] == [90, 270]
    assert panels.place.latitude_deg == 48.1
    assert PlanSource(config).pv_by_sun
    without = loader.compose(Path("x.toml"), with_planes()).dispatch
    assert pv_site(without) is None
    assert not PlanSource(without).pv_by_sun


@pytest.mark.parametrize(
    ("planes", "sections", "key", "expected"),
    [
        ((EAST | {"pv": "shed"}, WEST), {}, "plane[0].pv", "the id of a [[pv]]: roof"),
        ((EAST,), {}, "pv[0].peak_w", "the sum of its [[plane]] sections, 10000"),
        ((EAST, WEST), {"pv": [PV, PV | {"id": "shed", "unit": 2}]}, "pv[1].peak_w", "0: it has none"),
        ((EAST, WEST), {"site": {"name": "Farm"}}, "site.latitude_deg", "with a [[plane]] the sun counts"),
        ((), {"weather": [{"kind": "open-meteo"}]}, "weather", "[[plane]] sections as well"),
        ((EAST, WEST), {"weather": [{"kind": "open-meteo"}] * 2}, "weather[1].kind", "each service once"),
        (
            (EAST, WEST),
            {"weather": [{"kind": "open-meteo", "token_credential": "My Key"}]},
            "weather[0].token_credential",
            "never the secret",
        ),
        ((EAST | {"azimuth_deg": -90}, WEST), {}, "plane[0].azimuth_deg", ""),
        ((EAST | {"tilt_deg": 91}, WEST), {}, "plane[0].tilt_deg", ""),
    ],
)
def test_what_does_not_fit_is_said(planes: Any, sections: dict[str, Any], key: str, expected: str) -> None:
    assert expected in errors_of(with_planes(*planes, **sections))[key]
