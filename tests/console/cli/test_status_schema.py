"""The schema of `skerry status --json` against a real answer: each key of it is known, wrong ones are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Machine
from jsonschema import Draft202012Validator

from console.cli.main import skerry
from console.cli.status_schema import status_schema
from gateway import exit_codes
from gateway.api.server import LinkServer


def strict(part: Any) -> Any:
    """The schema in which a struct has no keys but those that it names."""
    if isinstance(part, list):
        return [strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: strict(value) for key, value in part.items()}
    closed = isinstance(made.get("title"), str) and "additionalProperties" not in made
    return made | {"additionalProperties": False} if closed and "properties" in made else made


def test_it_is_a_schema_and_the_command_prints_it() -> None:
    printed = CliRunner().invoke(skerry, ["status", "--schema"])
    assert printed.exit_code == exit_codes.OK
    schema = json.loads(printed.output)
    Draft202012Validator.check_schema(schema)
    assert {"snapshot", "decision", "alarms", "identity", "welcome"} <= schema["properties"].keys()
    assert schema["$defs"].keys() == status_schema()["$defs"].keys()


def test_it_is_of_no_site_and_no_time() -> None:
    assert CliRunner().invoke(skerry, ["status", "--schema", "--at", "-10m"]).exit_code == exit_codes.USAGE


async def test_a_real_answer_fits_and_has_no_key_that_is_not_described(machine: Machine, gateway: LinkServer) -> None:
    document = json.loads((await machine.skerry("status", "--json")).out)
    found = [
        f"{error.json_path}: {error.message}"
        for error in Draft202012Validator(strict(status_schema())).iter_errors(document)
    ]
    assert found == []


@pytest.mark.parametrize("key", ["snapshot", "decision", "loop"])
async def test_an_answer_without_its_parts_does_not_fit(machine: Machine, gateway: LinkServer, key: str) -> None:
    document = json.loads((await machine.skerry("status", "--json")).out)
    del document[key]
    assert not Draft202012Validator(status_schema()).is_valid(document)
