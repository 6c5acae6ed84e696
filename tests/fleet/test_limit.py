"""`skerry fleet limit`: what it signs is what a site reads, and what a site refuses is said."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from fleet_samples import NOW_S, FakeClient, FakeLink, identity, site

from console.cli import fleet_limit
from console.cli.fleet import fleet
from dispatch.model.signals import Item, Quantity, Signal, Sort
from dispatch.orders.signal_book import Taken
from drivers.signals.cloud_event import SignalNotRead, read_signal
from drivers.signals.config import SignalSender
from fleet.limit import KEY_BYTES, Limit, NoKey, signed, signing_key
from fleet.sites import SiteAddress
from gateway import exit_codes
from gateway.errors import LinkLost, RequestFailed

UUID = identity(1).site
LIMIT = Limit(site=UUID, number=7, import_w=40_000.0, start_utc_s=NOW_S, end_utc_s=NOW_S + 3600)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, SignalSender]:
    """A key file of `skerry fleet key`, and the sender of the section that it prints."""
    ran = CliRunner().invoke(fleet, ["key", str(tmp_path / "fleet.key")])
    assert ran.exit_code == 0
    (section,) = tomllib.loads(ran.output)["signal"]
    return tmp_path / "fleet.key", msgspec.convert(section, SignalSender)


def test_a_site_reads_what_was_signed(made: tuple[Path, SignalSender]) -> None:
    file, sender = made
    message = read_signal(signed(LIMIT, signing_key(file), sender.source).encode(), [sender])
    assert message.items == (Item(Quantity.IMPORT, 40_000.0, NOW_S, NOW_S + 3600),)
    assert (message.site, message.number, message.id) == (UUID, 7, f"{UUID}/7")
    ends = msgspec.structs.replace(LIMIT, import_w=None)
    (item,) = read_signal(signed(ends, signing_key(file), sender.source).encode(), [sender]).items
    assert item.limit_w is None
    other = signed(LIMIT, signing_key(file), sender.source).replace('"data": "eyJ', '"data": "eyK')
    with pytest.raises(SignalNotRead):
        read_signal(other.encode(), [sender])


def test_a_key_is_32_bytes_that_only_its_owner_reads(made: tuple[Path, SignalSender], tmp_path: Path) -> None:
    file, _ = made
    assert (file.stat().st_mode & 0o777, len(file.read_bytes())) == (0o600, KEY_BYTES)
    again = CliRunner().invoke(fleet, ["key", str(file)])
    assert "a key is written to a new file only" in str(again.exception)
    file.chmod(0o640)
    with pytest.raises(NoKey, match=r"others may read it \(mode 640\)"):
        signing_key(file)
    file.chmod(0o600)
    file.write_bytes(b"short")
    with pytest.raises(NoKey, match="expected the 32 bytes of an Ed25519 key"):
        signing_key(file)
    with pytest.raises(NoKey, match="make a key with: skerry fleet key"):
        signing_key(tmp_path / "none")


def test_each_site_gets_its_own_and_what_it_says_is_told(
    made: tuple[Path, SignalSender], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    def answer(name: str, number: int) -> Any:
        def answered(method: str, params: dict[str, Any]) -> Any:
            if method == "fleet.now":
                return msgspec.to_builtins(site(number))
            message = read_signal(params["event"].encode(), [made[1]])
            sent[name] = message
            if name == "no":
                return RequestFailed("fleet has no public_key in the site file", "refused")
            (item,) = message.items
            signal = Signal("s1", Sort.FLEET, "fleet", item.quantity, 40_000.0, NOW_S, NOW_S + 3600, NOW_S)
            return msgspec.to_builtins(Taken((signal,))) | {"sender": "fleet"}

        return answered

    async def open_link(address: SiteAddress, ssh: Sequence[str]) -> FakeLink:
        name = address.name.partition("@")[2]
        if name == "gone":
            raise LinkLost("gone: no route to host")
        number = {"a": 1, "no": 2, "older": 3}[name]
        client = FakeClient(name, answer(name, number))
        if name != "older":
            client.welcome = msgspec.structs.replace(client.welcome, identity=identity(number))
        return FakeLink(client)

    monkeypatch.setattr(fleet_limit, "open_link", open_link)
    command = ["limit", "--import", "40kW", "--for", "1h", "--key", str(made[0])]
    ran = CliRunner().invoke(fleet, [*command, "x@a"], standalone_mode=False)
    assert (ran.exception, ran.return_value) == (None, exit_codes.OK)
    assert ran.output.startswith("x@a: s1: import at most 40.0 kW, 2025-09-16 06:55 to 2025-09-16 07:55, number ")
    assert (sent["a"].site, sent["a"].items) == (UUID, (Item(Quantity.IMPORT, 40_000.0, NOW_S, NOW_S + 3600),))
    first = sent["a"].number
    ran = CliRunner().invoke(fleet, [*command, "--json", "x@a", "x@no", "x@older", "x@gone"], standalone_mode=False)
    assert ran.return_value == exit_codes.FAILED
    troubles = {each["name"]: each["trouble"] for each in json.loads(ran.output)}
    assert troubles == {
        "x@a": "",
        "x@no": "fleet has no public_key in the site file",
        "x@older": "it has no identity that is kept: a limit could not name it",
        "x@gone": "gone: no route to host",
    }
    ran = CliRunner().invoke(fleet, [*command[:3], "--for", "99999999999h", *command[5:], "x@a"], standalone_mode=False)
    assert (ran.exception, ran.return_value) == (None, exit_codes.FAILED)
    assert "a start or an end that no calendar has" in ran.output
    assert sent["no"].site == identity(2).site
    assert sent["a"].number > first


@pytest.mark.parametrize(
    "options",
    [
        ["--for", "1h"],
        ["--import", "1kW"],
        ["--import", "1kW", "--end", "--for", "1h"],
        ["--import", "-1kW", "--for", "1h"],
    ],
)
def test_nothing_is_signed_without_limit_and_end(options: list[str], made: tuple[Path, SignalSender]) -> None:
    ran = CliRunner().invoke(fleet, ["limit", "x@a", "--key", str(made[0]), *options])
    assert ran.exit_code == exit_codes.USAGE
