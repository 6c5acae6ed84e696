"""The JSON Schema of the site file, judged by an independent validator: it accepts what the loader accepts."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.site import loader
from gateway.site.json_schema import json_schema, unit_of
from gateway.site.loader import SiteFileError

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "sites").glob("*.toml"))
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
BASE = tomllib.loads((ROOT / "sites" / "render-farm.toml").read_text(encoding="utf-8")) | {
    "ups": [{"id": "ups1", "url": "nut://ups.site/su700"}],
    "pdu": [{"id": "pdu-a", "url": "nut://ups.site/pdu-a"}],
    "prometheus": [{"id": "prom", "url": "http://prom:9090"}],
    "kubernetes": [{"id": "k8s", "url": "https://10.0.0.1:6443", "ca": "k8s.pem"}],
    "scheduler": [{"id": "slurm", "kind": "slurm"}],
    "bmc": [{"id": "bmcs", "user": "reader", "password_file": "bmc-password"}],
    "nodes": [{"names": ["gpu[01-04]"], "source": "prometheus", "prometheus": "prom"}],
    "contact": [{"id": "epo", "purpose": "epo", "url": "tcp://io.site:502", "address": 0, "input": "input"}],
    "contact_step": [{"id": "s30", "wires": ["k1"], "production_limit_w": 18_000}],
    "genset": {"rated_w": 30_000},
    "plane": [{"pv": "roof", "tilt_deg": 30, "azimuth_deg": 180, "peak_w": 50_000}],
    "weather": [{"kind": "open-meteo"}],
    "signals": {"mqtt": {"host": "broker.site", "topic": "targets"}},
    "signal": [{"id": "dso", "sort": "obligation"}],
    "mqtt": {"host": "broker.site"},
    "notify": [{"id": "chat", "kind": "webhook", "url": "https://chat.site/hook"}],
}


def test_it_is_a_schema_that_json_can_write() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA, allow_nan=False))["title"] == "Skerry site file"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_example_sites_are_valid(file: Path) -> None:
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    assert [error.json_path for error in VALIDATOR.iter_errors(document)] == []


def sections() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and table of each section; an inner table as "tariff.demand"."""
    for name, value in SCHEMA["properties"].items():
        reference = value.get("items", value).get("$ref")
        if reference is None:
            continue
        section = SCHEMA["$defs"][reference.rpartition("/")[2]]
        yield name, section
        for key, inner in section["properties"].items():
            if "$ref" in inner:
                yield f"{name}.{key}", SCHEMA["$defs"][inner["$ref"].rpartition("/")[2]]


def keys() -> list[tuple[str, str, dict[str, Any]]]:
    return [(s, k, v) for s, table in sections() for k, v in table["properties"].items() if not is_table(v)]


def is_table(value: dict[str, Any]) -> bool:
    """Whether a key is a table, or a list of them, such as `[[tariff.feed]]`."""
    return "$ref" in value or "$ref" in value.get("items", {})


def test_every_section_and_key_has_a_meaning() -> None:
    assert [name for name, table in sections() if not table["description"].endswith(".")] == []
    found = ((f"{name}.{k}", v) for name, table in SCHEMA["$defs"].items() for k, v in table["properties"].items())
    assert [where for where, v in found if not is_table(v) and not v.get("description", "").endswith(".")] == []
    own = {name: key for name, key in SCHEMA["properties"].items() if "$ref" not in key.get("items", key)}
    assert [name for name, key in own.items() if not key.get("description", "").endswith(".")] == []


def refused_by_loader(document: dict[str, Any]) -> set[str]:
    """The keys that the loader refuses, as it names them: "battery[0].energy_kwh"."""
    try:
        loader.compose(Path("x.toml"), document)
    except SiteFileError as error:
        return {found.key for found in error.errors}
    return set()


def refused_by_schema(document: dict[str, Any]) -> set[str]:
    """The same by the schema; of a list the key, not the item."""
    paths = (list(error.absolute_path) for error in VALIDATOR.iter_errors(document))
    return {"".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".") for path in paths}


def set_value(document: dict[str, Any], section: str, key: str, value: object) -> str:
    """Change one key of a document; returns the loader's name of it."""
    outer, _, inner = section.partition(".")
    if SCHEMA["properties"][outer].get("type") == "array":
        table, where = document[outer][0], f"{outer}[0].{key}"
    else:
        table, where = document.setdefault(outer, {}), f"{section}.{key}"
    if inner:
        table = table.setdefault(inner, {})
    table[key] = value
    return where


def wrong_values(value: dict[str, Any]) -> list[object]:
    """For a key: values of the wrong kind, and numbers just outside its range."""
    number = next((option for option in value.get("anyOf", [value]) if option.get("type") != "string"), {})
    wrong: list[object] = [5 if value.get("type") == "object" else {"a": 1}, "12 parsec", [1]]
    wrong += [number["minimum"] - 1] if "minimum" in number else []
    wrong += [number["maximum"] + 1] if "maximum" in number else []
    return wrong + ([number["exclusiveMinimum"]] if "exclusiveMinimum" in number else [])


@pytest.mark.parametrize("turn", range(5))
def test_schema_and_loader_agree_on_wrong_values(turn: int) -> None:
    """Whatever the schema refuses the loader refuses, too; the loader may be stricter (time zones, files)."""
    document, changed = copy.deepcopy(BASE), {}
    for section, key, about in keys():
        wrong = wrong_values(about)
        if turn < len(wrong):
            changed[set_value(document, section, key, wrong[turn])] = wrong[turn]
    assert len(changed) > 20
    by_loader = refused_by_loader(document)
    by_schema = {path if path in changed else path.rpartition("[")[0] for path in refused_by_schema(document)}
    assert by_schema - by_loader == set()
    assert {where for where, value in changed.items() if not isinstance(value, str)} - by_schema == set()


@pytest.mark.parametrize(
    ("section", "key", "value", "valid"),
    [
        ("grid", "contracted_peak_w", "55 kW", True),
        ("grid", "contracted_peak_w", "55 kWh", False),
        ("grid", "metering_interval_s", "15 min", True),
        ("tariff", "fee_eur_per_kwh", "3.2 ct/kWh", True),
        ("island", "v_low_pct", "90 %", True),
        ("island", "hz_low", "49 Hz", False),  # its ending is not that of a frequency: a plain number
        ("battery", "temp_max_c", "45 °C", True),
        ("grid", "fuse_a", True, False),
    ],
)
def test_units_are_allowed_as_the_loader_allows_them(section: str, key: str, value: object, valid: bool) -> None:
    document = copy.deepcopy(BASE)
    where = set_value(document, section, key, value)
    assert (where in refused_by_schema(document)) is not valid
    assert (where in refused_by_loader(document)) is not valid


@pytest.mark.parametrize("table", ["", "grid", "battery"])
def test_unknown_keys_and_sections_are_errors(table: str) -> None:
    document = copy.deepcopy(BASE)
    target = document[table] if table else document
    (target[0] if isinstance(target, list) else target)["no_such_key"] = 1
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(("section", "key"), [("site", "name"), ("grid", "fuse_a"), ("battery", "energy_kwh")])
def test_required_keys_are_required(section: str, key: str) -> None:
    document = copy.deepcopy(BASE)
    table = document[section]
    del (table[0] if isinstance(table, list) else table)[key]
    assert not VALIDATOR.is_valid(document)


def test_units_of_keys() -> None:
    assert unit_of("contracted_peak_w") == "W"
    assert unit_of("ramp_w_per_s") == "W/s"
    assert unit_of("gradient_pct_per_min") == "%/min"
    assert unit_of("demand_eur_per_kw_month") == "EUR/kW"
    assert unit_of("enabled") == ""
