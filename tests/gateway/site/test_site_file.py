"""The site file: every mistake is found in one run, each with key, value and expectation."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.twin.config import PCS_FAMILIES
from gateway.site import loader as site_file
from gateway.site.loader import SiteFileError

ROOT = Path(__file__).resolve().parents[3]

MINIMAL = """
[site]
name = "Test site"
[grid]
fuse_a = 63
contracted_peak_w = "30 kW"
[reserve]
hours = 1
critical_load_w = 5000
[[battery]]
id = "bat1"
energy_kwh = 50
[[pcs]]
id = "pcs1"
battery = "bat1"
charge_w = 20000
discharge_w = "20 kW"
url = "tcp://127.0.0.1:1502"
[[meter]]
id = "grid"
url = "tcp://127.0.0.1:1503"
"""


def document() -> dict[str, Any]:
    """A valid document, to be broken by a test."""
    return copy.deepcopy(tomllib.loads(MINIMAL))


def errors_of(raw: dict[str, Any]) -> dict[str, str]:
    """Key -> whole error line of a document that must be refused."""
    with pytest.raises(SiteFileError) as caught:
        site_file.compose(Path("x.toml"), raw)
    return {error.key: str(error) for error in caught.value.errors}


def test_units_are_converted_to_the_keys_own() -> None:
    """A number may carry its unit; the key's suffix decides what it becomes."""
    site = site_file.compose(Path("x.toml"), document())
    assert site.grid.contracted_peak_w == 30_000
    assert site.pcs[0].discharge_w == 20_000
    assert site.dispatch.grid.fuse_w == 63 * 230 * 3


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_no_limit_is_infinite(value: float) -> None:
    raw = document()
    raw["grid"]["fuse_a"] = raw["battery"][0]["energy_kwh"] = value
    found = errors_of(raw)
    assert "a finite number" in found["grid.fuse_a"]
    assert "a finite number" in found["battery[0].energy_kwh"]


def test_every_error_in_one_run() -> None:
    """Unknown key and section, wrong unit, negative rating, wrong type, missing key: all of them, at once."""
    raw = document()
    raw["grid"]["contracted_peek_w"] = 1
    raw["grid"]["fuse_a"] = -3
    raw["reserve"]["critical_load_w"] = "12 kWh"
    raw["batteries"] = []
    raw["battery"][0]["energy_kwh"] = "big"
    del raw["site"]["name"]
    found = errors_of(raw)
    assert found.keys() == {
        "grid.contracted_peek_w",
        "grid.fuse_a",
        "reserve.critical_load_w",
        "[batteries]",
        "battery[0].energy_kwh",
        "site.name",
    }
    assert "did you mean contracted_peak_w" in found["grid.contracted_peek_w"]
    assert "-3" in found["grid.fuse_a"]
    assert "'12 kWh'" in found["reserve.critical_load_w"]
    assert "kW" in found["reserve.critical_load_w"]
    assert "did you mean battery" in found["[batteries]"]


@pytest.mark.parametrize(
    ("section", "key", "value", "blamed"),
    [
        ("grid", "contracted_peak_w", 60_000, "grid.contracted_peak_w"),  # above what 63 A carry
        ("reserve", "hours", 20, "reserve.hours"),  # 100 kWh out of a 50 kWh battery
        ("grid", "meter_delay_min_s", 3, "grid.meter_delay_min_s"),
        ("storage", "unsent_max_mb", 3_001, "storage.unsent_max_mb"),  # of 6000 MB
        ("storage", "disk_cap_mb", 999, "storage.unsent_max_mb"),  # 500 MB are the default
    ],
)
def test_limits_that_contradict_each_other(section: str, key: str, value: float, blamed: str) -> None:
    """Inconsistent limits are refused with both figures."""
    raw = document()
    raw.setdefault(section, {})[key] = value
    assert errors_of(raw).keys() == {blamed}


def test_references_ids_and_roles() -> None:
    """A PCS of an unknown battery, an id used twice, no grid meter, a twin url without [twin], a deadline too long."""
    raw = document()
    raw["pcs"][0]["battery"] = "bat9"
    raw["meter"][0] |= {"role": "load", "id": "pcs1", "url": "twin"}
    raw["io"] = {"deadline_s": 0.2}
    assert errors_of(raw).keys() == {"pcs[0].battery", "meter", "meter[0].id", "[twin]", "io.deadline_s"}


def test_errors_across_sections_are_found_in_the_same_run() -> None:
    """A mistyped key does not hide a peak above the fuses, a wrong time zone or a bad start of the twin."""
    raw = document()
    raw["site"] |= {"nam": "x", "timezone": "Europe/Berlim"}
    raw["grid"]["contracted_peak_w"] = 60_000
    raw["twin"] = {"start_utc": "yesterday"}
    raw["pcs"][0]["url"] = "tcp:here"
    raw["reserve"]["hours"] = 20
    found = errors_of(raw)
    assert found.keys() == {
        "site.nam",
        "site.timezone",
        "grid.contracted_peak_w",
        "twin.start_utc",
        "pcs[0].url",
        "reserve.hours",
    }
    assert "tcp://host:port" in found["pcs[0].url"]
    assert "2025-09-16T06:55:00Z" in found["twin.start_utc"]


def test_each_error_has_its_line() -> None:
    """Of the key; of the table where the key is missing; none where nothing of it is there."""
    text = MINIMAL.replace("fuse_a = 63", "fuse_a = -1").replace("charge_w = 20000\n", "")
    text += 'role = "load"\n[tariff]\nfle = 1\n[[pcs]]\nid = "pcs1"\nunitz = { vebus = 227 }\nunit = 300\n'
    with pytest.raises(SiteFileError) as caught:
        site_file.compose(Path("x.toml"), tomllib.loads(text), text)
    lines = text.splitlines()
    at = {error.key: error.line and lines[error.line - 1] for error in caught.value.errors}
    assert at["grid.fuse_a"] == "fuse_a = -1"
    assert at["pcs[0].charge_w"] == "[[pcs]]"
    assert at["tariff.fle"] == "fle = 1"
    assert at["pcs[1].unit"] == "unit = 300"
    assert at["pcs[1].unitz"] == "unitz = { vebus = 227 }"
    assert "x.toml:5: grid.fuse_a = -1: expected" in str(caught.value)
    text = text.replace("[grid]", "[gird]")
    with pytest.raises(SiteFileError, match=r"x.toml: \[grid\]: expected this section"):
        site_file.compose(Path("x.toml"), tomllib.loads(text), text)


def test_a_key_that_is_a_table_is_taken_for_one_that_may_be() -> None:
    raw = document()
    raw["pcs"][0] |= {"unitz": {"vebus": 227}}
    raw["meter"][0] |= {"unitt": 3}
    found = errors_of(raw)
    assert "did you mean units?" in found["pcs[0].unitz"]
    assert "did you mean unit?" in found["meter[0].unitt"]


def test_two_devices_of_a_role_are_not_the_same_unit() -> None:
    raw = document()
    raw["meter"].append(raw["meter"][0] | {"id": "load", "role": "load", "url": "tcp://127.0.0.1:1503"})
    raw["pcs"].append(raw["pcs"][0] | {"id": "pcs2", "battery": "bat2", "unit": 2})
    raw["battery"].append(raw["battery"][0] | {"id": "bat2"})
    found = errors_of(raw)
    assert found.keys() == {"meter[1].unit"}
    assert "a unit of its own at tcp://127.0.0.1:1503; meter[0] has it" in found["meter[1].unit"]


def test_what_is_doubtful_is_not_blamed_twice() -> None:
    """A battery that cannot be read does not make its PCS point nowhere."""
    raw = document()
    raw["battery"][0]["energy_kwh"] = -1
    assert errors_of(raw).keys() == {"battery[0].energy_kwh"}


def test_a_mistake_in_a_section_holds_back_no_error_across_sections() -> None:
    """Each of these sections has a mistake of its own beside one that spans sections."""
    raw = document()
    raw["grid"] |= {"contracted_peak_w": 60_000, "phases": 2, "export_limit_w": -1}
    raw["reserve"] |= {"hours": 20, "hour": 1}
    raw["battery"][0] |= {"wear_eur_per_kwh": "cheap", "soc_min_pct": 96}
    raw["pcs"][0] |= {"battery": "bat9", "revert_s": 1, "url": "here"}
    raw["meter"][0] |= {"role": "load", "unit": 300, "url": "twin"}
    raw["gateway"] = {"rate_hz": 10, "state_dirr": "x"}
    raw["io"] = {"deadline_s": 0.08, "stale_after_s": 60}
    found = errors_of(raw)
    assert found.keys() == {
        "grid.phases",  # so what the fuses carry is not known, nor whether the peak is above it
        "grid.export_limit_w",
        "reserve.hour",
        "reserve.hours",
        "battery[0].wear_eur_per_kwh",
        "battery[0].soc_min_pct",
        "pcs[0].battery",
        "pcs[0].revert_s",
        "pcs[0].url",
        "meter[0].unit",
        "meter",
        "[twin]",
        "gateway.state_dirr",
        "io.deadline_s",
        "io.stale_after_s",
    }


def test_nothing_is_reckoned_from_the_default_of_a_mistyped_key() -> None:
    raw = document()
    raw["battery"][0] |= {"soc_max_pc": 90, "soc_min_pct": 96}  # above the default
    raw["batterys"] = raw.pop("battery")
    assert errors_of(raw).keys() == {"[batterys]"}
    raw["battery"] = raw.pop("batterys")
    assert errors_of(raw).keys() == {"battery[0].soc_max_pc"}


def test_devices_behind_one_unit() -> None:
    """Nodes of the twin share a port, so each has a unit id of its own; as have two meters at one address."""
    raw = document()
    raw["twin"] = {}
    nodes = [{"id": f"gpu-{n}", "source": "modbus", "unit": unit} for n, unit in enumerate((1, 2, 1))]
    raw["node"] = [*nodes, {"id": "here", "source": "psutil"}, {"id": "there", "source": "psutil"}]
    raw["meter"].append(raw["meter"][0] | {"id": "load", "role": "load"})
    found = errors_of(raw)
    assert found == {
        "node[2].unit": "node[2].unit = 1: expected a unit of its own at twin; node[0] has it",
        "meter[1].unit": "meter[1].unit = 1: expected a unit of its own at tcp://127.0.0.1:1503; meter[0] has it",
    }


def test_a_generator_needs_its_switch_and_a_meter_below_it() -> None:
    raw = document()
    raw["genset"] = {"rated_w": 50_000}
    raw["switch"] = [{"id": "pcc", "url": "tcp://127.0.0.1:1504"}]
    found = errors_of(raw)
    assert found.keys() == {"meter[0].side", "switch[0].map"}
    assert 'expected "site" on a site with a [genset]' in found["meter[0].side"]
    assert "expected a map that tells the source of the site" in found["switch[0].map"]
    raw["meter"][0]["side"], raw["switch"][0]["map"] = "site", "socomec-atys-p-m"
    raw["switch"] = []
    assert "exactly one [[switch]]" in errors_of(raw)["genset.rated_w"]


@pytest.mark.parametrize(
    ("url", "key", "expected"),
    [
        ("tcp://127.0.0.1", "meter[0].url", "a port: tcp://host:port"),
        ("tcp://127.0.0.1:99999", "meter[0].url", "a port, 1..65535"),
        ("serial:///dev/ttyUSB0?baud=123", "meter[0].url", "baud one of 300, 600"),
        ("serial:ttyUSB0", "meter[0].url", "serial:///dev/ttyUSB0?baud=9600&parity=N&stop=1"),
        ("tls://127.0.0.1", "[tls]", "this section with ca, cert and key, because meter[0] has a tls:// url"),
        ("rtu+tcp://127.0.0.1:1502", "meter[0].url", "the scheme and settings that pcs[0] has for this port"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, key: str, expected: str) -> None:
    raw = document()
    raw["meter"][0]["url"] = url
    found = errors_of(raw)
    assert found.keys() == {key}
    assert expected in found[key]


@pytest.mark.parametrize("url", ["rtu+tcp://127.0.0.1:4001", "serial:///dev/ttyUSB0"])
@pytest.mark.parametrize("section", ["pcs", "meter"])
def test_unit_0_is_refused_where_it_is_every_device_at_once(section: str, url: str) -> None:
    raw = document()
    raw[section][0] |= {"url": url, "unit": 0}
    assert errors_of(raw).keys() == {f"{section}[0].unit"}
    raw[section][0]["unit"] = 255
    site_file.compose(Path("x.toml"), raw)
    raw[section][0] |= {"url": "tcp://127.0.0.1:1777", "unit": 0}
    site_file.compose(Path("x.toml"), raw)


def test_one_port_is_one_port_however_it_is_written() -> None:
    raw = document()
    raw["meter"][0]["url"] = "tcp://[::1]:1503"
    raw["meter"].append({"id": "load", "role": "load", "url": "tcp://[0:0:0:0:0:0:0:1]:1503"})
    assert errors_of(raw).keys() == {"meter[1].unit"}


def test_what_is_said_to_be_bundled_must_be() -> None:
    raw = document()
    raw["tariff"] = {"file": "bundled:nope"}
    raw["twin"] = {"load_trace": "bundled:nothing"}
    assert errors_of(raw) == {
        "tariff.file": "tariff.file = 'bundled:nope': expected a CSV file, or one of bundled:de-lu-2025",
        "twin.load_trace": "twin.load_trace = 'bundled:nothing': expected a CSV file, or one of bundled:helios",
    }


@pytest.mark.parametrize("unit", [0, 247, 255])
def test_unit_ids_of_modbus_tcp(unit: int) -> None:
    raw = document()
    raw["meter"][0]["unit"] = unit
    assert site_file.compose(Path("x.toml"), raw).meter[0].unit == unit


@pytest.mark.parametrize("unit", [-1, 256])
def test_numbers_that_are_no_unit_ids(unit: int) -> None:
    raw = document()
    raw["meter"][0]["unit"] = unit
    assert "expected a Modbus unit id, 0..255" in errors_of(raw)["meter[0].unit"]


def test_two_meters_of_one_unit_are_told_apart_by_their_instance() -> None:
    raw = document()
    raw["meter"].append(raw["meter"][0] | {"id": "load", "role": "load", "instance": 1})
    assert errors_of(raw).keys() == {"meter[1].unit"}  # the first is what the other reads, too
    raw["meter"][0]["instance"] = 0
    assert errors_of(raw).keys() == {"meter[0].instance"}
    raw["meter"][0]["instance"] = 2
    assert [m.instance for m in site_file.compose(Path("x.toml"), raw).meter] == [2, 1]


def test_a_grid_meter_has_no_period() -> None:
    raw = document()
    raw["meter"].append(raw["meter"][0] | {"id": "load", "role": "load", "unit": 2, "period_s": 2, "deadline_s": "1 s"})
    load = site_file.compose(Path("x.toml"), raw).meter[1]
    assert (load.period_s, load.deadline_s) == (2, 1)
    raw["meter"][0]["period_s"] = 2
    assert errors_of(raw) == {
        "meter[0].period_s": "meter[0].period_s = 2.0: expected no such key: the grid meter is read at every tick"
    }


def test_a_meter_on_p1_is_at_the_connection_point_and_has_its_port_alone() -> None:
    raw = document()
    meter = raw["meter"][0] | {"source": "p1"}
    for url in ("tcp://10.0.0.1:23", "serial:///dev/ttyUSB0?baud=115200"):
        raw["meter"][0] = meter | {"url": url, "serial": "K8EG004046395507"}
        assert site_file.compose(Path("x.toml"), raw).meter[0].source == "p1"
    for url in ("twin", "rtu+tcp://10.0.0.1:23", "serial:///dev/ttyUSB0", "serial:///dev/ttyUSB0?baud=115200&parity=E"):
        raw["meter"][0] = meter | {"url": url}
        assert "meter[0].url" in errors_of(raw)
    raw["meter"][0] = meter | {"map": "janitza-umg", "deadline_s": 1, "instance": 2, "url": raw["pcs"][0]["url"]}
    assert errors_of(raw).keys() == {"meter[0].map", "meter[0].deadline_s", "meter[0].instance", "pcs[0].url"}
    raw["meter"][0] = meter | {"invert": True, "spacing_s": 0.1, "side": "grid"}
    raw["grid"]["meter_delay_max_s"] = 0.5
    assert errors_of(raw).keys() == {"meter[0].invert", "meter[0].spacing_s", "grid.meter_delay_max_s"}
    del raw["grid"]["meter_delay_max_s"]
    raw["meter"] = [document()["meter"][0], meter | {"id": "load", "role": "load"}]
    assert errors_of(raw).keys() == {"meter[1].role", "meter[0].url"}


def test_whole_numbers_may_carry_a_unit() -> None:
    """A metering interval of an hour, in minutes."""
    raw = document()
    raw["grid"]["metering_interval_s"] = "60 min"
    assert site_file.compose(Path("x.toml"), raw).grid.metering_interval_s == 3600


def test_time_zone_must_exist() -> None:
    """An unknown time zone is an error of the site file, not of a later tick."""
    raw = document()
    raw["site"]["timezone"] = "Europe/Atlantis"
    assert "IANA" in errors_of(raw)["site.timezone"]


def test_text_that_is_not_toml(tmp_path: Path) -> None:
    """A syntax error names the line."""
    path = tmp_path / "broken.toml"
    path.write_text("[site\nname = 1")
    with pytest.raises(SiteFileError, match="line 1"):
        site_file.load(path)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(b'[site]\nname = "\xdb"')
    with pytest.raises(SiteFileError, match="TOML: expected UTF-8 text; invalid"):
        site_file.load(path)


def test_a_site_file_of_another_type_of_table() -> None:
    """A table where a list of tables belongs, and the reverse."""
    raw = document()
    raw["meter"] = {"id": "grid"}
    raw["site"] = "Fjord One"
    assert errors_of(raw).keys() == {"meter", "site"}


def test_a_battery_without_a_pcs_is_no_battery() -> None:
    raw = document()
    raw["battery"].append({"id": "bat2", "energy_kwh": 20})
    found = errors_of(raw)
    assert found == {"pcs": "pcs: expected a [[pcs]] with battery = 'bat2'; none names it"}


def test_the_demand_charge_as_a_table() -> None:
    """Units, defaults, and what its keys must be; beside the plain key it is refused."""
    raw = document()
    raw["tariff"] = {"demand": {"eur_per_kw": "84 EUR/kW", "per": "year", "floor_w": "20 kW"}}
    terms = site_file.compose(Path("x.toml"), raw).dispatch.tariff.demand_terms
    assert (terms.eur_per_kw, terms.per, terms.top_days, terms.floor_w, terms.windows) == (84, "year", 1, 20_000, ())
    raw["tariff"]["demand"] |= {"windows": ["8 to 20"], "per": "week", "top_days": 0, "flor_w": 1}
    found = errors_of(raw)
    assert found.keys() == {f"tariff.demand.{key}" for key in ("windows", "per", "top_days", "flor_w")}
    assert '"mon-fri 08:00-20:00"' in found["tariff.demand.windows"]
    assert "one of month, year" in found["tariff.demand.per"]
    assert "did you mean floor_w" in found["tariff.demand.flor_w"]
    raw["tariff"] = {"demand_eur_per_kw_month": 5, "demand": {"eur_per_kw": 84, "windows": ["08:20-20:00"]}}
    found = errors_of(raw)
    assert found.keys() == {"tariff.demand_eur_per_kw_month", "tariff.demand.windows"}
    assert "whole metering intervals, 15 min" in found["tariff.demand.windows"]
    raw["tariff"] = {"demand": 7}
    assert errors_of(raw) == {"tariff.demand": "tariff.demand = 7: expected a table, written [tariff.demand]"}


def with_pdus() -> dict[str, Any]:
    raw = document()
    raw["ups"] = [{"id": "ups1", "url": "nut://ups.site/su700"}]
    raw["pdu"] = [{"id": "a", "url": "nut://ups.site:3493/pdu-a"}, {"id": "b", "url": "nut://[::1]/pdu-b"}]
    raw["node"] = [{"id": "gpu-01", "source": "nut", "outlets": ["a:3", "b:3"]}]
    return raw


def test_a_ups_and_a_node_on_two_pdus() -> None:
    site = site_file.compose(Path("x.toml"), with_pdus())
    assert site.node[0].outlets == ("a:3", "b:3")
    assert site.node[0].terms.cap_w is None
    assert not site.uses_twin


@pytest.mark.parametrize(
    ("section", "changes", "key", "expected"),
    [
        ("node", {"outlets": []}, "node[0].outlets", 'at least one, such as "pdu-a:3"'),
        ("node", {"source": "psutil"}, "node[0].outlets", 'no such key, or source = "nut"'),
        ("node", {"outlets": ["c:3"]}, "node[0].outlets", "the id of a [[pdu]]: a, b"),
        ("node", {"outlets": ["a:3", "a:3"]}, "node[0].outlets", "feeds this node alone, once; node[0] has it"),
        ("node", {"outlets": ["a:0"]}, "node[0].outlets", 'outlets such as "pdu-a:3"'),
        ("ups", {"id": "a"}, "pdu[0].id", "an id of its own; ups[0] has it already"),
        *(
            ("ups", {"url": url}, "ups[0].url", "nut://host:3493/name")
            for url in (
                "tcp://host:3493",
                "nut://host",
                "nut://host:0/x",
                "nut://host:65536/x",
                "nut://host/a b",
                "nut://::1/x",
                "nut://host:3493/x/y",
            )
        ),
    ],
)
def test_what_of_upsd_is_refused(section: str, changes: dict[str, Any], key: str, expected: str) -> None:
    raw = with_pdus()
    raw[section][0] |= changes
    found = errors_of(raw)
    assert expected in found[key], found


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"map": "janitza"}, "meter[0].map", "no such map; expected janitza-umg, or a path such as ./janitza.toml"),
        ({"map": "./mine.toml"}, "meter[0].map", "mine.toml:1: file: No such file or directory; expected a map file"),
        ({"map": "janitza-umg", "instance": 2}, "meter[0].instance", "no such key beside map"),
        ({"map": "janitza-umg", "serial": "1"}, "meter[0].serial", "map janitza-umg reads no serial number to compare"),
        ({"serial": "a\tb"}, "meter[0].serial", "at most 64 printable characters"),
        ({"map": "janitza-umg", "units": {"grid": 30}}, "meter[0].units.grid", "a unit of the map janitza-umg: none"),
    ],
)
def test_what_of_a_device_map_is_refused(changes: dict[str, Any], key: str, expected: str) -> None:
    raw = document()
    raw["meter"][0].update(changes)
    assert expected in errors_of(raw)[key]


def test_which_devices_with_a_map_the_twin_can_be(tmp_path: Path) -> None:
    raw = document()
    raw["meter"][0] |= {"map": "eastron-sdm630", "url": "twin"}
    raw["pcs"][0] |= {"map": "victron-gx", "url": "twin", "units": {"vebus": 227, "battery": 225}}
    raw["twin"] = {}
    assert site_file.compose(Path("x.toml"), raw).uses_twin
    raw["pcs"][0]["units"]["battery"] = 227
    assert "expected a unit id of its own" in errors_of(raw)["pcs[0].units"]
    for family in set(PCS_FAMILIES) - {"sinexcel-pws2"}:  # it needs a BMS of its own
        raw["pcs"][0] |= {"map": family, "units": {"vebus": 227, "battery": 225} if family == "victron-gx" else {}}
        raw["pcs"][0] |= {"accept_no_revert": True, "cap_w": "5 kW"}
        assert site_file.compose(Path("x.toml"), raw).uses_twin
    own = (ROOT / "drivers" / "maps" / "goodwe-et.toml").read_text().replace('"goodwe-et"', '"my-pcs"')
    (tmp_path / "my-pcs.toml").write_text(own)
    raw["pcs"][0]["map"] = str(tmp_path / "my-pcs.toml")
    assert "a PCS that the twin can be: foxess-h3, foxess-h3-pro, goodwe-et" in errors_of(raw)["pcs[0].map"]


def test_the_pv_of_a_simulated_hybrid_is_that_of_one_pcs() -> None:
    raw = document()
    hybrid = {"map": "foxess-h3", "unit": 247, "url": "twin"}
    raw["pcs"][0] |= hybrid
    raw["pv"] = [{"id": "pv1", "peak_w": "12 kW", **hybrid}]
    raw["twin"] = {}
    assert site_file.compose(Path("x.toml"), raw).uses_twin
    for changes in ({"unit": 246}, {"map": "goodwe-et"}):
        raw["pv"] = [{"id": "pv1", "peak_w": "12 kW", **hybrid, **changes}]
        assert "whose PV it is; 0 have it" in errors_of(raw)["pv[0].map"]


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"map": "janitza-umg"}, "switch[0].map", "a map of kind switch; this is one of kind meter"),
        ({"map": "socomec-atys"}, "switch[0].map", "socomec-atys-p-m"),
        ({"map": "siemens-atc6300", "url": "twin"}, "switch[0].map", "a switch that the twin can be: skerry-switch, s"),
        ({"map": "socomec-atys-p-m", "units": {"line": 3}}, "switch[0].units.line", "a unit of the map"),
    ],
)
def test_a_switch_has_a_map_of_a_switch(changes: dict[str, Any], key: str, expected: str) -> None:
    raw = document()
    raw["switch"] = [{"id": "ats", "url": "tcp://ats.site:502", "map": "socomec-atys-p-m"}]
    raw["twin"] = {}
    assert site_file.compose(Path("x.toml"), raw).switch[0].map == "socomec-atys-p-m"
    raw["switch"][0] |= changes
    assert expected in errors_of(raw)[key]


def test_the_twin_is_the_bms_of_a_battery_whose_pcs_it_is() -> None:
    raw = document()
    raw["battery"][0] |= {"map": "soltaro-rack-b", "url": "twin"}
    raw["twin"] = {}
    assert "or a [[pcs]] of this battery that is the twin's, too" in errors_of(raw)["battery[0].url"]
    raw["pcs"][0] |= {"map": "sinexcel-pws2", "url": "twin"}
    assert site_file.compose(Path("x.toml"), raw).uses_twin


@pytest.mark.parametrize("path", sorted((ROOT / "sites").glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_site_can_be_tried_on_the_twin(path: Path) -> None:
    """As docs/devices.md says: url = "twin" for its devices, and a section [twin]."""
    raw = tomllib.loads(path.read_text())
    if not raw.get("pcs", [{}])[0].get("map"):
        return
    for section in ("meter", "pcs", "pv", "battery"):
        for device in raw.get(section, []):
            if section != "battery" or device.get("map"):
                device["url"] = "twin"
            device.pop("source", None)  # the twin has registers only
    raw.setdefault("twin", {})["host_node"] = False
    assert site_file.compose(path, raw).uses_twin


@pytest.mark.parametrize(
    ("changes", "pcs", "key", "expected"),
    [
        ({"map": "janitza-umg"}, {}, "pv[0].map", "a map of kind pv, or of a hybrid with a value pv_w; this is one of"),
        ({"map": "goodwe-et", "url": "twin"}, {}, "pv[0].map", "no map, or that of one [[pcs]] with unit 247"),
        ({"map": "victron-gx", "units": {"vebus": 227}}, {}, "pv[0].map", "a hybrid with a value pv_w"),
        (
            {"map": "goodwe-et", "curtail": True},
            {},
            "pv[0].curtail",
            "has no write pv_limit, so it takes no limit",
        ),
        ({"map": "goodwe-et"}, {"unit": 247}, "pv[0].map", "no map, as pcs[0] has, which is the same device"),
        ({"map": ""}, {"unit": 247, "map": "foxess-h3"}, "pv[0].map", "map = 'foxess-h3', as pcs[0] has"),
    ],
)
def test_what_of_a_hybrid_is_refused(changes: dict[str, Any], pcs: dict[str, Any], key: str, expected: str) -> None:
    raw = document()
    place = {"url": "tcp://hybrid.site:502", "unit": 247}
    raw["pv"] = [{"id": "pv1", "peak_w": "12 kW", **place, **changes}]
    raw["pcs"][0].update(place | {"unit": 1} | pcs)
    assert expected in errors_of(raw)[key]


@pytest.mark.parametrize("name", ["goodwe-et", ""])
def test_a_hybrid_whose_pcs_and_pv_are_read_the_same_way(name: str) -> None:
    raw = document()
    place = {"url": "tcp://hybrid.site:502", "unit": 247, "map": name}
    raw["pv"] = [{"id": "pv1", "peak_w": "12 kW", **place}]
    raw["pcs"][0].update(place | ({"accept_no_revert": True, "cap_w": "5 kW"} if name else {}))
    site = site_file.compose(Path("x.toml"), raw)
    assert site.pv[0].map == site.pcs[0].map == name


def test_every_error_of_a_map_beside_the_site_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[map]\nname = "mine"\ntitle = "M"\nkind = "meter"\nsources = []\n[value.w]\n')
    raw = document()
    raw["meter"][0]["map"] = "./mine.toml"
    with pytest.raises(SiteFileError) as caught:
        site_file.compose(tmp_path / "site.toml", raw)
    told = "\n".join(str(error) for error in caught.value.errors)
    for line in (
        "mine.toml:5: map.sources: no source",
        "mine.toml:1: map: no identity check",
        "mine.toml:6: value.w: no addr",
    ):
        assert line in told
    raw["meter"][0]["map"] = "eastron-sdm630"
    assert site_file.compose(tmp_path / "site.toml", raw).meter[0].map == "eastron-sdm630"


def with_contacts(**changes: Any) -> dict[str, Any]:
    raw = document()
    raw["contact"] = [
        {"id": "epo", "purpose": "epo", "url": "tcp://io.site:502", "address": 3, "input": "input"} | changes
    ]
    return raw


def test_contacts() -> None:
    site = site_file.compose(Path("x.toml"), with_contacts())
    (terms,) = site.dispatch.contacts
    assert (terms.id, terms.purpose, terms.debounce_s) == ("epo", "epo", 0.05)
    site = site_file.compose(Path("x.toml"), with_contacts(purpose="grid_operator", export_limit_w="18 kW"))
    assert site.dispatch.contacts[0].export_limit_w == 18_000


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"purpose": "panic"}, "contact[0].purpose", "one of epo, fire, gas"),
        ({"url": "twin"}, "contact[0].url", "the address of an I/O module"),
        ({"normally": "open"}, "contact[0].normally", "a broken wire to a single open contact goes unnoticed"),
        ({"second_address": 3}, "contact[0].second_address", "another input than the first"),
        ({"purpose": "grid_operator"}, "contact[0].purpose", "export_limit_w or another limit"),
        ({"export_limit_w": 0}, "contact[0].purpose", '"grid_operator", because'),
        ({"bit": 16}, "contact[0].bit", ""),
        ({"input": "discrete", "bit": 4}, "contact[0].bit", "no bit of a discrete input"),
        ({"input": "coil", "second_bit": 1}, "contact[0].second_bit", "no bit of a coil input"),
        ({"id": "bat1"}, "contact[0].id", "an id of its own; battery[0] has it already"),
    ],
)
def test_contacts_that_cannot_do_what_they_are_for(changes: dict[str, Any], key: str, expected: str) -> None:
    found = errors_of(with_contacts(**changes))
    assert expected in found[key], found


def test_an_open_contact_with_two_inputs_is_supervised() -> None:
    site = site_file.compose(Path("x.toml"), with_contacts(normally="open", second_address=4))
    assert site.contact[0].second_address == 4


@pytest.mark.parametrize(
    ("keys", "lacks"),
    [
        ({"on_stop_starts": ["a"]}, {"on_allow_starts"}),
        ({"on_allow_starts": ["a"]}, {"on_stop_starts"}),
        ({"on_requeue": ["a"]}, {"on_stop_starts"}),
        ({"on_checkpoint": ["a"]}, {"on_requeue"}),
        ({"checkpoint_s": "2 min"}, {"on_checkpoint"}),
        ({"on_power_off": ["a"]}, {"on_power_on", "on_stop_starts"}),
        ({"on_power_on": ["a"]}, {"on_power_off"}),
    ],
)
def test_a_command_of_a_node_that_needs_another_is_refused_without_it(keys: dict[str, Any], lacks: set[str]) -> None:
    raw = document()
    raw["node"] = [{"id": "n", "source": "psutil", **keys}]
    found = errors_of(raw)
    assert found.keys() == {f"node[0].{key}" for key in lacks}
    assert all(f"this key beside {next(iter(keys))}: " in line for line in found.values())


ON_POWER_OFF = {"on_stop_starts": ["a"], "on_allow_starts": ["a"], "on_power_off": ["a"], "on_power_on": ["a"]}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"event_step": "power-off"}, "on_power_off beside it"),
        ({"event_step": "requeue", **ON_POWER_OFF}, "on_requeue beside it"),
        ({"event_step": "power-off", "critical": True, **ON_POWER_OFF}, "the node is critical"),
        ({"event_step": "off"}, "power-off"),
        ({"event_step": "power-off", **ON_POWER_OFF}, None),
    ],
)
def test_a_grid_event_asks_of_a_node_what_there_is_a_command_for(keys: dict[str, Any], expected: str | None) -> None:
    raw = document()
    raw["node"] = [{"id": "n", "source": "psutil", **keys}]
    if expected is None:
        assert site_file.compose(Path("x.toml"), raw).node[0].terms.event_step == "power-off"
        return
    found = errors_of(raw)
    assert found.keys() == {"node[0].event_step"}
    assert expected in found["node[0].event_step"]


CHARGES = """
[tariff]
holidays = "DE-BE"
[[tariff.window]]
id = "ht"
days = ["mon-fri"]
times = ["06:00-22:00"]
[[tariff.charge]]
id = "ht"
kind = "energy"
price = 0.3
windows = ["ht"]
[[tariff.charge]]
id = "nt"
kind = "energy"
price = 0.2
windows = ["ht"]
outside = true
[[tariff.charge]]
id = "peak"
kind = "max"
price = 120
period = "year"
vat_pct = "19 %"
month_weight_pct = { jul = 25 }
individual = { windows = ["ht"], gap_pct = 20 }
"""


def test_charges_and_windows_are_read_as_lists_of_tables() -> None:
    site = site_file.compose(Path("x.toml"), document() | tomllib.loads(CHARGES))
    energy, _, peak = site.tariff.charge
    assert (energy.price, energy.windows, site.tariff.window[0].times) == (0.3, ("ht",), ("06:00-22:00",))
    assert peak.month_weight_pct is not None
    assert peak.individual is not None
    assert (peak.month_weight_pct.jul, peak.individual.gap_pct, peak.vat_pct) == (25, 20, 19)
    assert site.dispatch.tariff.charges == site.tariff.charge


def test_errors_of_charges_and_windows_are_found_in_one_run() -> None:
    wrong = (
        CHARGES.replace('kind = "max"', 'kind = "maximum"').replace("jul = 25", "juli = 25").replace("gap_pct", "gap")
    )
    wrong = wrong.replace('days = ["mon-fri"]', 'days = ["montag"]').replace("DE-BE", "DE-ZZ")
    errors = errors_of(document() | tomllib.loads(wrong))
    assert errors.keys() == {
        "tariff.charge[2].kind",
        "tariff.charge[2].month_weight_pct.juli",
        "tariff.charge[2].individual.gap",
        "tariff.window[0].days",
        "tariff.holidays",
    }
    assert "did you mean jul?" in errors["tariff.charge[2].month_weight_pct.juli"]
    other = errors_of(document() | {"tariff": {"charge": {"id": "x"}}})
    assert "expected a list of tables, written [[tariff.charge]]" in other["tariff.charge"]


def keys_in(raw: dict[str, Any], at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every key of a document, those of tables in it too."""
    for key, value in raw.items():
        yield (*at, key)
        tables = value if isinstance(value, list) else []
        for n, table in enumerate(tables):
            if isinstance(table, dict):
                yield from keys_in(table, (*at, key, n))
        if isinstance(value, dict):
            yield from keys_in(value, (*at, key))


@pytest.mark.parametrize("name", ["demo", "render-farm"])
def test_no_value_that_cannot_be_read_ends_the_checks_of_the_others(name: str) -> None:
    """Each key in turn holds what no key takes; it is named, whatever reads it afterwards."""
    whole = tomllib.loads((ROOT / "sites" / f"{name}.toml").read_text(encoding="utf-8"))
    for place in keys_in(whole):
        raw = copy.deepcopy(whole)
        table: Any = raw
        for part in place[:-1]:
            table = table[part]
        table[place[-1]] = [[1]]
        with pytest.raises(SiteFileError) as caught:
            site_file.compose(Path("x.toml"), raw)
        assert str(place[-1]) in str(caught.value), place
