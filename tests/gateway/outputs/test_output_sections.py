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
        ("host", "broker:1883"),
        ("password", "secret"),
        ("password_credential", "Secret-Pa55!"),
        ("topic_prefix", "a/#"),
        ("discovery_prefix", "/homeassistant"),
        ("period_s", 0.1),
        ("port", 0),
    ],
)
def test_a_broker_without_a_password_in_the_file_and_topics_without_wildcards(key: str, value: object) -> None:
    for host in ("broker", "broker.example.org", "192.0.2.7", "2001:db8::7", "::1"):
        assert mistakes(mqtt={"host": host}) == {}
    assert [*mistakes(mqtt={"host": "broker", key: value})] == [f"mqtt.{key}"]


HOOK = {"id": "chat", "kind": "webhook", "url": "https://chat.example.org/hook"}
MAIL = {"id": "night", "kind": "mail", "host": "mail", "sender": "s@example.org", "to": ["a@example.org"]}


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (HOOK, ""),
        (MAIL, ""),
        (HOOK | {"url_credential": "chat-url"}, "url"),
        ({"id": "chat", "kind": "webhook"}, "url"),
        (HOOK | {"host": "mail"}, "host"),
        (HOOK | {"alarms": ["fuse-overload"], "least_priority": "low"}, ""),
        (HOOK | {"alarms": ["fuse-overlord"]}, "alarms"),
        (HOOK | {"url": "http://chat/hook", "token_credential": "t"}, "token_credential"),
        (HOOK | {"url": "http://chat/hook", "fingerprint": "0" * 64}, "fingerprint"),
        (MAIL | {"to": []}, "to"),
        (MAIL | {"to": ["a@example.org, b@example.org"]}, "to"),
        (MAIL | {"sender": "s@example.org\r\nBcc: x"}, "sender"),
        (MAIL | {"username": "u"}, "username"),
        (MAIL | {"username": "u", "password_credential": "p", "security": "none"}, "security"),
        (MAIL | {"url": "https://chat/hook"}, "url"),
    ],
)
def test_each_kind_of_receiver_has_its_own_keys(section: dict[str, Any], key: str) -> None:
    assert [*mistakes(notify=[section])] == ([f"notify[0].{key}"] if key else [])


def test_receivers_have_ids_of_their_own() -> None:
    assert [*mistakes(notify=[HOOK, MAIL | {"id": "chat"}])] == ["notify[1].id"]
