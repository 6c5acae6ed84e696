"""Device maps are loaded with every error at its line, and what could do harm is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.maps.loader import MapError, bundled, load, load_file, parse

HEAD = """[map]
name = "some"
title = "Some device"
kind = "pcs"
sources = ["Manual 1.2, page 3"]
no_identity = "it has none"
[units]
other = 7
[protected]
ranges = [[790, 800, "grid code"]]
[value.w]
address = 10
type = "s32"
unit = "W"
"""
RECIPE = """[recipe]
renew_s = 5
revert_s = 60
[[recipe.set]]
address = 100
values = [{ type = "s16", terms = { want_w = 1.0 } }]
"""
HEAD_LINES, RECIPE_LINES = HEAD.count("\n"), RECIPE.count("\n")

# what is appended to the sound map, the line and key of the fault counted from there, part of its message
FAULTS = {
    "overlap": ('[value.v]\naddress = 11\ntype = "u16"\nunit = "V"', 2, "value.v.address", "overlap those of w"),
    "overlap with one further before": (
        '[value.serial]\naddress = 20\ntype = "string"\nsize = 9\n[value.v]\naddress = 22\ntype = "u16"\nunit = "V"\n'
        '[value.hz]\naddress = 24\ntype = "u16"\nunit = "Hz"',
        10,
        "value.hz.address",
        "24..24 overlap those of serial, 20..28",
    ),
    "scale register inside": (
        '[value.v]\naddress = 20\ntype = "u16"\nunit = "V"\nscale_register = 11',
        -12,
        "value.w.address",
        "overlap",
    ),
    "no such type": (
        '[value.v]\naddress = 20\ntype = "u17"\nunit = "V"',
        3,
        "value.v.type",
        "'u17'; expected one of u16, s16, u32",
    ),
    "no such function": (
        '[value.v]\naddress = 20\ntype = "u16"\nunit = "V"\nfunction = 5',
        5,
        "value.v.function",
        "5; expected one of 3, 4",
    ),
    "size": ('[value.v]\naddress = 20\ntype = "u16"\nunit = "V"\nsize = 2', 5, "value.v.size", "1, which u16 takes"),
    "behind the end": ('[value.v]\naddress = 65535\ntype = "f32"\nunit = "V"', 2, "value.v.address", "65535 or below"),
    "unknown unit": ('[value.v]\naddress = 20\ntype = "u16"\nunit = "Volt"', 4, "value.v.unit", "one of mV, V, kV"),
    "unit of another": ('[value.v]\naddress = 20\ntype = "u16"\nunit = "W"', 4, "value.v.unit", "one of mV, V, kV"),
    "no unit": ('[value.v]\naddress = 20\ntype = "u16"', 1, "value.v.unit", "one of mV, V, kV"),
    "unknown value": ('[value.soc_pc]\naddress = 20\ntype = "u16"\nunit = "%"', 1, "value.soc_pc", "expected soc_pct"),
    "unknown word": (
        '[value.state]\naddress = 20\ntype = "enum"\nwords = { 1 = "off", 2 = "turbo" }',
        4,
        "value.state.words",
        "'turbo'; expected one of",
    ),
    "number for a word": ('[value.state]\naddress = 20\ntype = "u16"\nunit = "1"', 3, "value.state.type", "an enum"),
    "unknown at": ('[value.v]\nat = "oter"\naddress = 20\ntype = "u16"\nunit = "V"', 2, "value.v.at", "or other"),
    "wide nan": ('[value.v]\naddress = 20\ntype = "u16"\nunit = "V"\nnan = [0x18000]', 5, "value.v.nan", "1 registers"),
    "wide bit": ('[value.alarms]\naddress = 20\ntype = "bits"\nbits = { 16 = "hot" }', 4, "value.alarms.bits", "0..15"),
    "bits of a number": (
        '[value.battery_alarms]\nsum_of = ["w"]',
        2,
        "value.battery_alarms.sum_of",
        "bits that are read from registers",
    ),
    "bits subtracted": (
        '[value.alarms]\nminus_of = ["x_a"]\n[value.x_a]\naddress = 20\ntype = "bits"\nbits = { 0 = "hot" }',
        2,
        "value.alarms.minus_of",
        "bits cannot be subtracted",
    ),
    "sum of nothing": ('[value.pv_w]\nsum_of = ["x_a"]', 2, "value.pv_w.sum_of", "not in this map"),
    "unknown key": ('[value.v]\nadress = 20', 2, "value.v.adress", "expected address"),
    "unknown table": ("[values.v]\naddress = 20", 1, "values", "expected value"),
    "wrong type": ('[value.v]\naddress = "20"\ntype = "u16"\nunit = "V"', 2, "value.v.address", "a whole number"),
    "infinite": ('[value.v]\naddress = 20\ntype = "u16"\nunit = "V"\nscale = inf', 5, "value.v.scale", "finite"),
    "bad identity": ('[[identity]]\naddress = 5\ntype = "u16"\nstarts_with = "A"', 1, "identity[0]", "is = a number"),
    "flash at each change": (
        '[[recipe.set]]\naddress = 200\nmemory = "flash"\nvalues = [{ type = "u16", is = 1 }]',
        3,
        "recipe.set[1].memory",
        "ram",
    ),
    "flash at each renewal": (
        '[[recipe.renew]]\naddress = 200\nmemory = "flash"\nvalues = [{ type = "u16", is = 1 }]',
        3,
        "recipe.renew[0].memory",
        "ram",
    ),
    "flash heartbeat": (
        '[recipe.heartbeat]\naddress = 200\nevery_s = 5\ncounts = true\nmemory = "flash"',
        5,
        "recipe.heartbeat.memory",
        "ram",
    ),
    "protected step": (
        '[[recipe.enter]]\naddress = 789\nvalues = [\n  { type = "u32", is = 1 },\n]',
        2,
        "recipe.enter[0].address",
        "writes 789..790, protected 790..800 (grid code)",
    ),
    "protected heartbeat": (
        "[recipe.heartbeat]\naddress = 800\nevery_s = 5\ncounts = true",
        2,
        "recipe.heartbeat.address",
        "protected",
    ),
    "protected write": ('[write.mode]\naddress = 795\nwords = { 1 = "on" }', 2, "write.mode.address", "protected"),
    "restores protected": (
        "[[recipe.leave]]\naddress = 785\nsize = 6\nfound = true",
        2,
        "recipe.leave[0].address",
        "writes 785..790",
    ),
    "unknown term": (
        '[[recipe.set]]\naddress = 200\nvalues = [{ type = "s16", terms = { wanted = 1.0 } }]',
        3,
        "recipe.set[1].values",
        "unknown term 'wanted'",
    ),
    "term that is not read": (
        '[[recipe.set]]\naddress = 200\nvalues = [{ type = "s16", terms = { pv_w = 1.0 } }]',
        3,
        "recipe.set[1].values",
        "[value.pv_w]",
    ),
    "unknown term in when": (
        '[[recipe.set]]\naddress = 200\nwhen = "want_w < 0 and volts > 3"\nvalues = [{ type = "s16", is = 1 }]',
        3,
        "recipe.set[1].when",
        "unknown term 'volts'",
    ),
    "bad condition": (
        '[[recipe.set]]\naddress = 200\nwhen = "want_w != 0"\nvalues = [{ type = "s16", is = 1 }]',
        3,
        "recipe.set[1].when",
        "TERM < TERM",
    ),
    "fixed number too large": (
        '[[recipe.set]]\naddress = 200\nvalues = [{ type = "s16", is = 40000 }]',
        3,
        "recipe.set[1].values",
        "fits into s16",
    ),
    "a part of a value that is read": (
        '[write.mode]\naddress = 11\nwords = { 1 = "on" }',
        1,
        "write.mode",
        "11..11 covers a part of value.w, 10..11",
    ),
    "more than the value that is written elsewhere": (
        '[[recipe.leave]]\naddress = 99\nvalues = [{ type = "u16", is = 0 }, { type = "u32", is = 0 }]',
        1,
        "recipe.leave[0]",
        "100..101 covers a part of recipe.set.0, 100..100",
    ),
    "flash by the word of another step": (
        '[[recipe.enter]]\naddress = 100\nmemory = "flash"\nvalues = [{ type = "s16", is = 1 }]',
        -(HEAD_LINES + 5),
        "recipe.set[0].address",
        "writes 100, which another step calls flash",
    ),
    "several by function 6": (
        '[[recipe.set]]\naddress = 200\nfunction = 6\nvalues = [{ type = "s32", is = 1 }]',
        1,
        "recipe.set[1]",
        "function 16",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_at_its_line(fault: str) -> None:
    added, line, key, message = FAULTS[fault]
    with pytest.raises(MapError) as error:
        parse(Path("some.toml"), HEAD + RECIPE + added + "\n")
    found = [(f.line, f.key) for f in error.value.faults if message in str(f)]
    where = HEAD_LINES + RECIPE_LINES + line if line > 0 else -line
    assert found == [(where, key)], str(error.value)


def test_the_map_that_the_faults_are_added_to_is_sound() -> None:
    found = parse(Path("some.toml"), HEAD + RECIPE)
    assert found.recipe is not None
    assert found.recipe.set[0].values[0].terms == {"want_w": 1.0}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('sources = ["Manual 1.2, page 3"]', "sources = []", 5, "no source"),
        ('sources = ["Manual 1.2, page 3"]', 'sources = [" "]', 5, "no source"),
        ('sources = ["Manual 1.2, page 3"]\n', "", 1, "no sources"),
        ('no_identity = "it has none"\n', "", 1, "no identity check"),
        ('kind = "pcs"', 'kind = "bms"', 4, "'bms'"),
        ("[value.w]", "[value.v]", 4, "no value w"),
        ("address = 10", "address = 10 10", 12, "a TOML document"),
        ("other = 7", "other = 256", 8, "a Modbus unit id"),
        ('[[790, 800, "grid code"]]', '[[800, 790, "grid code"]]', 10, "first at most last"),
    ],
)
def test_a_fault_of_the_head_is_refused_at_its_line(old: str, new: str, line: int, message: str) -> None:
    with pytest.raises(MapError) as error:
        parse(Path("some.toml"), HEAD.replace(old, new))
    assert [f.line for f in error.value.faults if message in str(f)] == [line], str(error.value)


def test_a_device_that_never_reverts_must_not_depend_on_what_is_measured() -> None:
    """Where the term is missing nothing is written, and the last setpoint would stand for ever."""
    measured = '[value.pv_w]\naddress = 20\ntype = "u16"\nunit = "W"\n'
    recipe = RECIPE.replace("want_w = 1.0", "want_w = 1.0, pv_w = 1.0")
    parse(Path("some.toml"), HEAD + measured + recipe)
    parse(Path("some.toml"), HEAD + RECIPE.replace("revert_s = 60", "revert_s = 0"))
    with pytest.raises(MapError, match="the last setpoint would stand for ever"):
        parse(Path("some.toml"), HEAD + measured + recipe.replace("revert_s = 60", "revert_s = 0"))


def test_every_fault_is_told_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(MapError) as error:
        parse(Path("some.toml"), HEAD + '[value.v]\naddress = -1\ntype = "u17"\nunit = "V"\ncolour = 1\n')
    assert [f.line for f in error.value.faults] == [HEAD_LINES + n for n in (2, 3, 5)]


def test_texts_of_several_lines_do_not_shift_what_is_said(tmp_path: Path) -> None:
    head = HEAD.replace('title = "Some device"', 'title = """Some\n[value.w]\naddress = 1 # "\n"""')
    with pytest.raises(MapError) as error:
        parse(Path("some.toml"), head.replace("address = 10", "address = -10"))
    assert [f.line for f in error.value.faults] == [15]


def test_a_map_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="No such file"):
        load("./mine.toml", tmp_path / "site.toml")
    (tmp_path / "mine.toml").write_bytes(b'[map]\nname = "\xff"')
    with pytest.raises(MapError, match=r"mine\.toml:2: file: .*UTF-8"):
        load_file(tmp_path / "mine.toml")
    with pytest.raises(MapError, match="expected janitza-umg, or a path such as"):
        load("janitza")


def test_a_site_may_bring_a_map_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(HEAD + RECIPE)
    assert load("./some.toml", tmp_path / "site.toml").name == "some"


@pytest.mark.parametrize("name", bundled())
def test_every_map_that_comes_along_loads(name: str) -> None:
    assert load(name).name == name
