"""What the site file may say of the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_gateway import SITE

from gateway.site.loader import SiteFileError, compose


def mistakes(**sections: Any) -> dict[str, str]:
    """What is wrong, by key."""
    try:
        compose(Path("site.toml"), SITE | sections)
    except SiteFileError as error:
        return {found.key: found.expected for found in error.errors}
    return {}


@pytest.mark.parametrize(
    ("listen", "any_address", "wrong"),
    [
        ("127.0.0.1:9469", False, ""),
        ("[::1]:9469", False, ""),
        ("127.9.9.9:1", False, ""),
        ("0.0.0.0:9469", False, "an address of loopback"),
        ("[::]:9469", False, "an address of loopback"),
        ("192.0.2.7:9469", False, "any_address = true"),
        ("192.0.2.7:9469", True, ""),
        ("127.0.0.1:70000", False, "a port of 1 to 65535"),
        ("999.0.0.1:9469", True, "an address and a port"),
        ("localhost:9469", False, "an address and a port"),
    ],
)
def test_metrics_are_for_this_machine_unless_the_owner_says_so(listen: str, any_address: bool, wrong: str) -> None:
    found = mistakes(metrics={"listen": listen, "any_address": any_address})
    assert list(found) == (["metrics.listen"] if wrong else [])
    assert not wrong or wrong in found["metrics.listen"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", "tcp://broker"),
        ("password", "secret"),
        ("password_credential", "Secret-Pa55!"),
        ("topic_prefix", "a/#"),
        ("discovery_prefix", "/homeassistant"),
        ("period_s", 0.1),
        ("port", 0),
    ],
)
def test_a_broker_without_a_password_in_the_file_and_topics_without_wildcards(key: str, value: object) -> None:
    assert mistakes(mqtt={"host": "broker"}) == {}
    assert [*mistakes(mqtt={"host": "broker", key: value})] == [f"mqtt.{key}"]
