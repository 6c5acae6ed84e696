"""Each translation against English: the same codes and figures, its own terms, nothing cut on 80 columns."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from string import Formatter

import msgspec
import pytest

from console.display.language_choice import ENGLISH, available, folder, locale_for
from console.display.language_files import ALARMS, GLOSSARY, codes, read, template_files
from console.display.wrapping import NEVER_FIRST, columns, wrap
from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.wording import catalogue
from dispatch.wording.catalogue import alarm_text, rule_name, words

TRANSLATIONS = [locale for locale in available() if locale != ENGLISH]
OF_ENGLISH = {**catalogue.ENGLISH.templates, **catalogue.ENGLISH.phrases, **catalogue.ENGLISH.past}
CODE = re.compile(r"`[^`]*`")  # commands and keys, the same in every language
WHY_COLUMNS, WHY_ROWS = 71, 2  # of the line that says why, on 80 columns
SAMPLES: dict[str, object] = {
    **dict.fromkeys(("clock", "weekday", "date_clock"), "2025-09-16T18:15+02:00"),
    **dict.fromkeys(("rule", "setter", "rule_number"), RuleId.FUSE.value),
    "alarm_title": "pcs-fault:pcs1",
    "comma": [plain("one"), plain("two")],
    "titled": "nov-mar",
    "": plain("gpu01"),
}


def fields(template: str) -> Counter[tuple[str, str]]:
    return Counter((name, spec or "") for _, name, spec, _ in Formatter().parse(template) if name is not None)


def filled(code: str) -> Reason:
    return Reason(code, {name: SAMPLES.get(spec, 12_345.0) for name, spec in fields(OF_ENGLISH[code])})  # type: ignore[misc]


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_a_translation_has_every_code_once_and_no_other(locale: str) -> None:
    found = Counter(
        code for path in template_files(locale) for code, _ in codes(tomllib.loads(path.read_text(encoding="utf-8")))
    )
    assert sorted(OF_ENGLISH.keys() - found.keys()) == [], "codes without words"
    assert sorted(found.keys() - OF_ENGLISH.keys()) == [], "words without a code"
    assert [code for code, n in found.items() if n > 1] == []
    language = read(locale)
    assert language.alarms.keys() == catalogue.ENGLISH.alarms.keys()
    assert language.rules.keys() == {rule.value for rule in RuleId}


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_a_translation_says_each_figure_in_the_same_format(locale: str) -> None:
    templates = read(locale).templates
    differ = {code: template for code, template in templates.items() if fields(template) != fields(OF_ENGLISH[code])}
    assert differ == {}


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_a_translation_is_filled_without_a_figure_left(locale: str) -> None:
    language = read(locale)
    for code in OF_ENGLISH:
        said = words(filled(code), language)
        assert said, code
        assert "{" not in said, code


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_an_alarm_names_its_subject_and_commands_as_english_does(locale: str) -> None:
    for name, text in read(locale).alarms.items():
        for field, said in msgspec.structs.asdict(text).items():
            english = getattr(catalogue.ENGLISH.alarms[name], field)
            assert said, f"{name}.{field}"
            assert said.count("{subject}") == english.count("{subject}"), f"{name}.{field}"
            assert sorted(CODE.findall(said)) == sorted(CODE.findall(english)), f"{name}.{field}"


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_what_fits_the_why_line_in_english_fits_it_in_a_translation(locale: str) -> None:
    language = read(locale)
    for code in OF_ENGLISH:
        if "…" not in wrap(words(filled(code)), WHY_COLUMNS, WHY_ROWS)[-1]:
            lines = wrap(words(filled(code), language), WHY_COLUMNS, WHY_ROWS)
            assert "…" not in lines[-1], f"{code}: {lines}"


class Term(msgspec.Struct, forbid_unknown_fields=True):
    """`say` is the one term for `english`; what is in `never` is not used for it."""

    english: str
    say: str
    never: list[str] = []
    note: str = ""


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_a_term_is_called_the_same_everywhere(locale: str) -> None:
    read_as = msgspec.convert(
        tomllib.loads((folder() / locale / GLOSSARY).read_text(encoding="utf-8")), dict[str, list[Term]]
    )
    language = read(locale)
    texts = dict(language.templates)
    for name, text in language.alarms.items():
        texts |= {f"{ALARMS} {name}.{field}": said for field, said in msgspec.structs.asdict(text).items()}
    texts |= {f"rule {name}": said for name, said in language.rules.items()}
    texts |= {f"label {code}": said for code, said in language.labels.items()}
    plain_texts = {where: re.sub(r"`[^`]*`|\{[^}]*\}|\[[^]]*\]", " ", text) for where, text in texts.items()}
    everything = "\n".join(plain_texts.values())
    for term in read_as["term"]:
        assert term.say in everything, f"{term.say}: never used"
        for word in term.never:
            bound = r"\b" if word.isascii() or (word[0].isalpha() and word[0] < "\u2e80") else ""
            found = [
                where for where, text in plain_texts.items() if re.search(f"{bound}{re.escape(word)}{bound}", text)
            ]
            assert found == [], f"{word}: say {term.say}"


@pytest.mark.parametrize(
    ("asked", "environment", "locale"),
    [
        (None, {}, "en"),
        (None, {"LANG": "de_AT.UTF-8"}, "de"),
        (None, {"LANG": "de_DE.UTF-8", "LC_MESSAGES": "C"}, "en"),
        (None, {"LANG": "C", "LC_ALL": "zh_CN.UTF-8"}, "zh_CN"),
        (None, {"LANG": "zh_TW.UTF-8"}, "en"),
        (None, {"LANG": "fr_FR.UTF-8"}, "en"),
        (None, {"LANG": ""}, "en"),
        (None, {"SKERRY_LANG": "de", "LC_ALL": "zh_CN.UTF-8"}, "de"),
        ("zh", {"LANG": "de_DE.UTF-8"}, "zh_CN"),
        ("zh-CN", {}, "zh_CN"),
        ("en_GB", {"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_the_language_is_the_one_asked_for_or_of_the_environment(
    asked: str | None, environment: dict[str, str], locale: str
) -> None:
    assert locale_for(asked, environment) == locale


def test_a_language_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no language fr: expected one of en, de"):
        locale_for("fr", {})


def test_german_writes_figures_and_times_as_german_does() -> None:
    german = read("de")
    assert words(Reason("limit.pcs", {"pcs": "pcs1", "limit_w": 18_449.0}), german) == "pcs1 erlaubt 18,4 kW"
    assert words(Reason("asked.setpoint", {"battery_w": -3_000.0}), german) == "Laden mit 3,0 kW"
    assert words(Reason("asked.setpoint", {"battery_w": 20.0}), german) == "Batterie auf 0 kW"
    assert words(Reason("time.day", {"local": "2025-09-16T18:15+02:00"}), german) == "Di 18:15"
    full = Reason("balance.last", {"last_local": "2025-09-16T18:15+02:00"})
    assert words(full, german) == "zuletzt voll 16.09.2025 18:15"
    assert (
        words(Reason("rule.at_rest", {"state": "islanded"}), german) == "nicht wirksam: die Anlage ist im Inselbetrieb"
    )
    assert words(Reason("charge.weight", {"month_names": "nov-mar", "pct": 62.5}), german) == "Nov–Mär 62,5 %"
    assert rule_name(RuleId.GRID_RAMP, german) == "Netzrampe"
    silent = alarm_text("device-lost:meter1", Reason("alarm.silent", {"silent_s": 12.3}), german)
    assert silent.title == "meter1: keine gute Antwort"
    assert silent.cause.endswith("Jetzt: keine gute Antwort seit 12 s")


def test_chinese_counts_columns_and_names_days_and_months() -> None:
    chinese = read("zh_CN")
    weight = Reason("charge.weight", {"month_names": "nov-mar", "pct": 62.5})
    assert words(weight, chinese) == "11月–3月 62.5 %"
    assert words(Reason("time.day", {"local": "2025-09-16T18:15+02:00"}), chinese) == "周二 18:15"
    text = words(Reason("reserve.soc_unknown", {"reserve_pct": 20.0, "limit_w": 12_500.0}), chinese)
    assert text == "荷电状态未知，备用 20 %：放电至多 12.5 kW"
    lines = wrap(text, 20, 4)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(columns(line) <= 20 for line in lines)
    assert not any(line[0] in NEVER_FIRST for line in lines)
    assert any(line.endswith("12.5 kW") for line in lines), "a figure stays with its unit"


def test_what_a_translation_lacks_is_said_in_english() -> None:
    german = msgspec.structs.replace(read("de"), templates={}, alarms={})
    assert words(Reason("contact.epo"), german) == "emergency stop"
    assert alarm_text("contact-stop:k1", language=german).title == "Protective contact k1"


def test_console_and_commands_take_their_words_in_the_language_that_is_shown() -> None:
    english = {"cli/check.py", "cli/json_output.py", "cli/tariff.py", "display/language.py"}  # JSON, or both
    at = folder().parents[1] / "console"
    direct = re.compile(r"from dispatch\.wording(\.catalogue)? import .*\b(words|rule_name|alarm_text|catalogue)\b")
    found = {str(path.relative_to(at)) for path in at.rglob("*.py") if direct.search(path.read_text(encoding="utf-8"))}
    assert found == english
