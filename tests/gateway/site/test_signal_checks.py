"""`[signals]`, `[[signal]]` and the grid operator's contacts: what a site file may say, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from signed_signals import SOURCE, ed25519_key, p256_key
from small_gateway import small_site

from gateway.site.loader import SiteFileError

KEY, OTHER_KEY = ed25519_key(), p256_key()
ACME = {"id": "acme", "sort": "market", "source": SOURCE, "public_key": KEY}
STEP = {
    "id": "p14a",
    "purpose": "grid_operator",
    "url": "tcp://127.0.0.1:1",
    "input": "discrete",
    "address": 1,
}


def errors(directory: Path, **sections: Any) -> dict[str, str]:
    with pytest.raises(SiteFileError) as refused:
        small_site(directory, **sections)
    return {error.key: error.expected for error in refused.value.errors}


def test_senders_of_every_sort(tmp_path: Path) -> None:
    site = small_site(
        tmp_path,
        signals={"directory": "in"},
        signal=[
            ACME,
            {"id": "dso", "sort": "obligation"},
            {
                "id": "fleet",
                "sort": "fleet",
                "source": "//fleet",
                "public_key": OTHER_KEY,
                "heartbeat_s": "5 min",
                "failsafe_import_w": "40 kW",
            },
        ],
    )
    assert [s.sort for s in site.signal] == ["market", "obligation", "fleet"]
    assert (site.signal[2].heartbeat_s, site.signal[2].failsafe_import_w) == (300, 40_000)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"sort": "boss"}, "sort", "one of obligation, market, fleet"),
        ({"public_key": "AAAA"}, "public_key", "32 bytes of Ed25519, or 33 or 65"),
        ({"source": ""}, "source", "the source of its CloudEvents"),
        ({"heartbeat_s": 60}, "heartbeat_s", "what holds without it"),
        ({"failsafe_import_w": 1}, "failsafe_import_w", "heartbeat_s, too"),
        ({"heartbeat_s": 60, "failsafe_export_w": 1}, "failsafe_export_w", 'sort = "market" may not limit export'),
        ({"heartbeat_s": 60, "failsafe_import_w": 1, "public_key": ""}, "heartbeat_s", "only its own messages count"),
    ],
)
def test_a_sender_that_cannot_be_believed(tmp_path: Path, changes: dict[str, Any], key: str, expected: str) -> None:
    assert expected in errors(tmp_path, signal=[ACME | changes])[f"signal[0].{key}"]


def test_two_senders_have_neither_id_nor_source_nor_key_in_common(tmp_path: Path) -> None:
    found = errors(tmp_path, signal=[ACME, ACME])
    assert found == {
        "signal[1].id": "one of its own; signal[0] has it already",
        "signal[1].source": "one of its own; signal[0] has it already",
        "signal[1].public_key": "one of its own; signal[0] has it already",
    }


def test_files_need_a_sender_with_a_key(tmp_path: Path) -> None:
    found = errors(tmp_path, signals={"directory": "in"}, signal=[{"id": "dso", "sort": "obligation"}])
    assert "a [[signal]] with public_key" in found["signals.directory"]
    broker = {"host": "broker", "topic": "grid/#", "ca": "ca.pem"}
    found = errors(tmp_path, signals={"mqtt": broker})
    assert "a [[signal]] with public_key" in found["signals.mqtt.topic"]
    assert "tls = true" in found["signals.mqtt.ca"]


def test_a_charge_limit_is_for_low_voltage(tmp_path: Path) -> None:
    step = STEP | {"charge_limit_w": "4.2 kW"}
    assert small_site(tmp_path, contact=[step]).dispatch.contacts[0].charge_limit_w == 4_200
    grid = {"fuse_a": 160, "contracted_peak_w": 30_000, "connection": "medium-voltage"}
    found = errors(tmp_path, contact=[step], grid=grid)
    assert "§14a EnWG is for low voltage" in found["contact[0].charge_limit_w"]


WIRE = {"purpose": "operator_wire", "url": "tcp://io.site:502", "input": "discrete", "normally": "open"}


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"active": ["k9"]}, "contact_step[1].active", "one of its wires"),
        ({"active": ["k2", "k1"]}, "contact_step[1].active", "contact_step[0] has it already"),
        ({"wires": ["k1", "k2", "k9"]}, "contact_step[1].wires", 'purpose = "operator_wire"'),
        ({"id": "k1"}, "contact_step[1].id", "contact[0] has it already"),
    ],
)
def test_steps_that_wires_code(tmp_path: Path, changes: dict[str, Any], key: str, expected: str) -> None:
    wires = [WIRE | {"id": f"k{n}", "address": n} for n in (1, 2)]
    first = {"id": "s100", "wires": ["k1", "k2"], "active": ["k1", "k2"]}
    second = {"id": "s30", "wires": ["k1", "k2"], "active": ["k1"], "production_limit_w": "18 kW"}
    site = small_site(tmp_path, contact=wires, contact_step=[first, second])
    assert site.dispatch.contact_steps[1].production_limit_w == 18_000
    assert expected in errors(tmp_path, contact=wires, contact_step=[first, second | changes])[key]
    lone = WIRE | {"id": "k3", "address": 3}
    assert "names it in its wires" in errors(tmp_path, contact=[lone])["contact[0].purpose"]
