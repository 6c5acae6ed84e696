"""Inputs that have broken something once, each a fault that was mended. They must now be taken, or refused in words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fuzzing import Parser
from registry import PARSERS

BY_NAME = {parser.name: parser for parser in PARSERS}
NOT_UTF8 = b"\x82\xa4type\xa5\xff\xfe\xfd\xfc\xfb\xa8rate_hz\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"
NESTED = b"\x83\xa4type\xa7request\xa2id\x01\xa6params\x81\xa1x" + b"\x91" * 3000 + b"\x90"
BYTES = [
    ("messages of clients", NOT_UTF8, "text that is not UTF-8"),
    ("messages of clients", NESTED, "nested too deep"),
    ("messages of gateways, link version 1", NOT_UTF8, "the same, read by a console"),
    ("prices", b"start_utc,price_eur_per_mwh\n2025-09-16T06:00:00Z,\r-3\n", "a carriage return amid a line"),
    ("prices", b"start_utc,price_eur_per_mwh\n" + b"9" * 200_000, "a cell longer than csv allows"),
    ("prices, zipped", gzip.compress(bytes(16 << 20)), "gzip that unpacks to a thousand times its length"),
    ("traces of a replay", b"start_utc,power_w\n" + b"9" * 200_000 + b",1\n", "a cell longer than csv allows"),
    (
        "traces of a replay",
        b"start_utc,power_w\n0001-01-01T00:00:00Z,1\n0001-01-01T00:00:01Z,1\n9999-12-31T00:00:00Z,1\n",
        "three rows, 315 thousand million seconds",
    ),
    (
        "meter values of the utility",
        b"bis;kWh\n0001-01-01 00:00;1\n2026-01-14 00:15;2\n",
        "a time before the first year",
    ),
    ("traces of the twin", b"start_utc,power_w\n2025-09-16T06:00:00Z,\xff\n2025-09-16T06:15:00Z,1\n", "not UTF-8"),
    ("traces of the twin, zipped", b"not gzip", "not gzip"),
    ("an earlier result", b'{"from_utc": "2025-09-16T00:00:00Z", "step_s": "900"}', "a figure that is a text"),
    ("cgroup.events", b"frozen \x91", "not UTF-8"),
    (
        "incarnation.json",
        b'{"incarnation":"acfe3de9-b217-423e-8666-f3bf3201ae8a","machine":"\xb3","identity_changed_ns":1,"public_key":""}',
        "not UTF-8",
    ),
    ("verify a manifest", b"[" * 100_000, "nested too deep"),
    ("a twin's announcement", b'{"control":"\xdc"}', "not UTF-8"),
    ("orders to a twin", b'{"free": {"pcc": 1}}', "a table where a name is expected"),
    ("orders to a twin", b'{"local": ["pcs1"]}', "a list where a name is expected"),
    ("what a twin answers", b"[" * 6000 + b"\n", "nested too deep"),
    ("the environment", b"~nobody-has-this-name/x", "the home directory of nobody"),
]
RESERVATION = {"end_utc_s": 9e12, "name": "render"}
ROWS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("rows of telemetry.db", ("decision", 0, "island"), "NaN"),
    ("rows of telemetry.db", ("decision", 0, "chain"), "[[1"),
    ("rows of telemetry.db", ("drill", 0, "report"), "7"),
    ("rows of telemetry.db", ("state", 0, "value"), "{"),
    ("rows of audit.db", ("entry", 0, "body"), "{"),
    ("rows of audit.db", ("entry", 0, "body", "json", "t"), "soon"),
    ("what a gateway starts from, its audit", ("entry", 0, "body", "json", "reservation"), RESERVATION),
    ("what is kept of Energy IQ", ("state", 0, "value"), "{"),
    ("what is kept of Energy IQ", ("state", 0, "value"), '"NaN"'),
    ("export of damaged rows", ("decision", 0, "reason"), "{"),
    ("verify rows of an audit", ("entry", 0, "seq"), -1),
    ("verify a record of drills", ("drill", 0, "audit_head"), "17"),
    ("verify a manifest", ("audit", "head"), "17"),
    ("verify a manifest", ("audit", "public_key"), "not hex"),
    ("verify a manifest", ("audit",), 7),
    ("verify a manifest", ("files", "events.csv"), 7),
    ("verify a manifest", ("files", "\0"), {}),
    ("answers to the command line", ("why", "reason"), {"code": {}, "figures": {}}),
]


def taken_or_refused(parser: Parser, data: bytes, directory: Path) -> None:
    with parser.session(directory) as feed:
        try:
            feed(data)
        except parser.errors:
            pass


@pytest.mark.parametrize(("name", "data", "what"), BYTES, ids=[f"{name}, {what}" for name, _, what in BYTES])
def test_bytes(name: str, data: bytes, what: str, tmp_path: Path) -> None:
    taken_or_refused(BY_NAME[name], data, tmp_path)


def changed(document: Any, way: tuple[Any, ...], value: Any) -> Any:
    """A document in which what lies at the end of a way is another value."""
    if not way:
        return value
    if isinstance(document, dict):
        return document | {way[0]: changed(document.get(way[0]), way[1:], value)}
    return [*document[: way[0]], changed(document[way[0]], way[1:], value), *document[way[0] + 1 :]]


@pytest.mark.parametrize(
    ("name", "way", "value"), ROWS, ids=[f"{row[0]}, {'.'.join(map(str, row[1]))}" for row in ROWS]
)
def test_values(name: str, way: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    parser = BY_NAME[name]
    decode = json.loads if parser.tree == "json" else msgspec.msgpack.decode
    example = next(found for data in parser.examples() if way[0] in (found := decode(data)))
    other = changed(example, way, value)
    assert other != example
    taken_or_refused(
        parser, json.dumps(other).encode() if parser.tree == "json" else msgspec.msgpack.encode(other), tmp_path
    )


def test_an_audit_whose_schema_is_damaged_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    parser = BY_NAME["audit.db that is written on"]
    (whole,) = parser.examples()
    assert b"NEW.hash IS NOT" in whole
    taken_or_refused(parser, whole.replace(b"NEW.hash IS NOT", b"NEW.h\xa9sh IS NOT"), tmp_path)
    names = {path.name for path in (tmp_path / "state").iterdir()}
    assert any(name.startswith("audit.db.corrupt.") for name in names)
    assert "audit.db" in names
