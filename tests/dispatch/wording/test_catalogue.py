"""The catalogue against the code: each code that can be given has words, from figures that are given with it."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from string import Formatter

import msgspec
import pytest

from dispatch.alarms.definitions import DEFINITIONS
from dispatch.control.rules.order import RULES
from dispatch.islanding.reconnection import OUT_OF_STEP
from dispatch.model.reasons import Reason, RuleId, joined, plain
from dispatch.planning.price_steps import FOR_PRICE
from dispatch.wording.catalogue import ENGLISH, FORMATS, RULE_NUMBERS, STYLED, alarm_text, rule_name, words

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("dispatch", "drivers", "storage", "gateway", "console")
OF_RULES = ("rule", "setter", "rule_number")
OTHERS = ("", "comma", "alarm_title")  # formats of any figure
UNITS = {
    "kw": "_w",
    "action": "_w",
    "kwh": "_wh",
    "whole_kwh": "_wh",
    "kw_per_s": "_w_per_s",
    "cents": "_eur_per_kwh",
    "span": "_s",
    "minutes": "_s",
    "countdown": "_s",
    "whole_min": "_s",
    "hours": "_s",
    "clock": "local",
    "titled": "names",
    "weekday": "local",
    "date_clock": "local",
}


Given = dict[str, list[tuple[str, frozenset[str]]]]


@pytest.fixture(scope="module")
def given() -> Given:
    """Every `Reason(code, {figures})` in the code: code -> (where, names of its figures)."""
    found = defaultdict(list)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(source)) if "Reason" in source else ():
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason":
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    code, *figures = node.args
                    assert isinstance(code, ast.Constant), f"{where}: the code must be written out"
                    found[code.value].append((where, names_in(figures, where)))
    return dict(found)


def names_in(figures: list[ast.expr], where: str) -> frozenset[str]:
    if not figures:
        return frozenset()
    assert isinstance(figures[0], ast.Dict), f"{where}: the figures must be written out"
    assert all(isinstance(key, ast.Constant) for key in figures[0].keys), f"{where}: their names must be written out"
    return frozenset(key.value for key in figures[0].keys if isinstance(key, ast.Constant))


def fields(template: str) -> list[tuple[str, str]]:
    """(figure, format) of a template."""
    return [(name, spec or "") for _, name, spec, _ in Formatter().parse(template) if name is not None]


def test_every_code_has_a_template_and_every_template_a_code(given: Given) -> None:
    assert ENGLISH.templates.keys() == given.keys()
    assert len(given) > 150, "the search finds them"


def test_templates_use_only_figures_that_every_place_gives(given: Given) -> None:
    for code, template in ENGLISH.templates.items():
        for where, names in given[code]:
            asked = {name for name, _ in fields(template)}
            assert asked <= names, f"{where}: {code} does not give {asked - names}"


def test_formats_fit_the_units_that_the_figures_names_state() -> None:
    for code, template in ENGLISH.templates.items():
        for name, spec in fields(template):
            if spec in UNITS:
                assert name.endswith(UNITS[spec]), f"{code}: {{{name}:{spec}}}"
            elif spec not in (*OF_RULES, *OTHERS):
                format(1.5, spec)  # raises for a format nobody knows
    assert UNITS.keys() == FORMATS.keys() | STYLED.keys()


def test_every_template_is_filled_and_reads_the_same_after_a_journey() -> None:
    for code, template in ENGLISH.templates.items():
        figures = {}
        for name, spec in fields(template):
            if spec in OF_RULES:
                figures[name] = RuleId.FUSE.value
            elif spec in ("clock", "weekday", "date_clock"):
                figures[name] = "2025-09-16T18:15+02:00"
            elif spec == "alarm_title":
                figures[name] = "pcs-fault:pcs1"
            elif spec == "comma":
                figures[name] = [plain("one"), plain("two")]
            else:
                figures[name] = 12_000 if spec else plain("why")
        reason = Reason(code, figures)
        said = words(reason)
        assert said
        assert "{" not in said
        for codec in (msgspec.json, msgspec.msgpack):
            assert words(codec.decode(codec.encode(reason), type=Reason)) == said, code


def test_every_alarm_has_its_four_texts() -> None:
    assert ENGLISH.alarms.keys() == {definition.id for definition in DEFINITIONS}
    for name in ENGLISH.alarms:
        text = alarm_text(f"{name}:pcs1")
        assert all(msgspec.structs.astuple(text)), name
        assert "{" not in "".join(msgspec.structs.astuple(text))


def test_what_is_seen_now_stands_behind_the_cause() -> None:
    text = alarm_text("device-lost:meter1", Reason("alarm.silent", {"silent_s": 12.3}))
    assert text.title == "meter1: no good answer"
    assert text.cause == "The device has not given a good answer for some time. Now: no good answer for 12 s"


def test_codes_that_decide_something_exist(given: Given) -> None:
    assert {OUT_OF_STEP, "go.fault_kept", *FOR_PRICE} <= given.keys()


def test_rules_are_numbered_in_the_order_in_which_they_run() -> None:
    numbers = [RULE_NUMBERS[rule.id] for rule in RULES]
    assert numbers == sorted(numbers)
    assert [rule.id for rule in RULES] == [rule for rule in RuleId if rule is not RuleId.RATINGS]
    assert {rule.id for rule in RULES} == RULE_NUMBERS.keys()
    assert rule_name(RuleId.GRID_RAMP) == "grid ramp"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Reason("limit.pcs", {"pcs": "pcs1", "limit_w": 18_449.0}), "pcs1 allows 18.4 kW"),
        (Reason("asked.setpoint", {"battery_w": -3_000.0}), "charge 3.0 kW"),
        (Reason("asked.setpoint", {"battery_w": 20.0}), "battery at 0 kW"),
        (Reason("step.import_paid", {"price_eur_per_kwh": -0.0123, "assumed": None}), "import is paid, -1.2 ct/kWh"),
        (Reason("time.day", {"local": "2025-09-16T18:15+02:00"}), "Tue 18:15"),
        (joined([plain("one"), plain("two")]), "one; two"),
        (joined([plain("one")]), "one"),
    ],
)
def test_words(reason: Reason, said: str) -> None:
    assert words(reason) == said


def test_nothing_is_said_of_nothing() -> None:
    assert words(None) == ""


def test_a_code_of_another_version_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # in tests it is a mistake otherwise
    new = Reason("reserve.new", {"limit_w": 3000.0, "why": plain("so")})
    assert words(new) == "reserve.new (limit_w 3000.0, why text (text so))"
    assert words(Reason("limit.pcs", {"limit_kw": 3.0})) == "limit.pcs (limit_kw 3.0)"


def test_codes_of_earlier_versions_are_still_said(given: Given) -> None:
    assert not ENGLISH.past.keys() & given.keys()
    window = Reason("fuse.window", {"import_w": 100_000, "export_w": 30_000, "phases": plain("no currents")})
    old = Reason("fuse.operator", {"contacts": "k1", "import_w": 5_000, "export_w": 0, "window": window})
    said = words(Reason("fuse.operator_charge", {"operator": old, "charge_w": 4_200}))
    assert said.startswith("grid operator (k1): import at most 5.0 kW, export at most 0.0 kW; otherwise import at most")
    assert said.endswith("; charge at most 4.2 kW from the grid")
