"""What a device says it is, in one line."""

from __future__ import annotations

import pytest

from dispatch.model.equipment import DeviceIdentity


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (DeviceIdentity("Maker", "PCS 60", "4711", "3.51"), "Maker PCS 60 4711, firmware 3.51"),
        (DeviceIdentity("Maker", "Maker PCS 60", "4711", "3.51"), "Maker PCS 60 4711, firmware 3.51"),
        (DeviceIdentity("Maker", "Makerless", "", ""), "Maker Makerless"),
        (DeviceIdentity("", "PCS 60", "", "2"), "PCS 60, firmware 2"),
        (DeviceIdentity(), ""),
    ],
)
def test_a_makers_name_is_said_once(said: DeviceIdentity, text: str) -> None:
    assert said.text == text
