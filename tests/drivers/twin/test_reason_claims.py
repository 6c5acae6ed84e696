"""What reasons and alarms say is true of the twin when it is shown; a code without a claim is listed with why."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from claims_witness import Witness
from demo_day import DemoDay
from disturbed_day import decisions, sunny
from figure_claims import FIGURE_CLAIMS
from outage_storm import Draw, Storm, draw
from reason_claims import ALARM_CLAIMS, CLAIMS

from dispatch.alarms.conditions import conditions
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.facts import Facts
from dispatch.alarms.states import AlarmBook
from dispatch.model.decision import Decision
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import ENGLISH
from drivers.twin.lockstep import LockstepSite

ROOT = Path(__file__).resolve().parents[3]
RUNS = int(os.environ.get("SKERRY_SOAK_CLAIMS", "0"))
SEEDS = range(RUNS) if RUNS else (0, 7, 10, 44)  # together they reach most of what outages say
DEMO_TICKS = 120


class Elsewhere(msgspec.Struct, forbid_unknown_fields=True):
    """Codes or alarms that are not judged against the twin."""

    why: str
    tests: list[str]
    codes: list[str] = []
    ids: list[str] = []


def elsewhere(kind: str) -> list[Elsewhere]:
    text = Path(__file__).with_name("claims_elsewhere.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)[kind], list[Elsewhere])


def test_every_code_has_a_claim_or_a_reason_why_it_has_none() -> None:
    listed = Counter([*CLAIMS, *FIGURE_CLAIMS, *(code for group in elsewhere("codes") for code in group.codes)])
    assert sorted(ENGLISH.templates.keys() - listed.keys()) == [], "a claim, or a line in claims_elsewhere.toml"
    assert sorted(listed.keys() - ENGLISH.templates.keys()) == [], "no such code"
    assert [code for code, n in listed.items() if n > 1] == []


def test_every_alarm_has_a_claim_or_a_reason_why_it_has_none() -> None:
    listed = Counter([*ALARM_CLAIMS, *(id_ for group in elsewhere("alarms") for id_ in group.ids)])
    assert sorted(listed) == sorted(definition.id for definition in DEFINITIONS)
    assert [id_ for id_, n in listed.items() if n > 1] == []


def test_what_is_tested_elsewhere_names_tests_that_exist() -> None:
    named = {path for kind in ("codes", "alarms") for group in elsewhere(kind) for path in group.tests}
    assert {path for path in named if not (ROOT / path).is_file()} == set()


class JudgedStorm(Storm):
    """An outage whose reasons and alarms are judged at each tick."""

    witness = Witness()

    def __init__(self, drawn: Draw) -> None:
        super().__init__(drawn)
        self.alarms = AlarmBook(DEFINITIONS)

    def _check(self, snapshot: Snapshot, decision: Decision) -> None:
        super()._check(snapshot, decision)
        self.witness.judge(self.lockstep, decision)
        facts = Facts(config=self.config, interval=self.controller.interval, prices_expected=False)
        found = conditions(snapshot, decision, facts)
        self.alarms.update(found, snapshot.utc_s, snapshot.mono_s)
        self.witness.judge_alarms(self.lockstep, found, self.alarms.active())


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Witness:
    made = Witness()
    monkeypatch.setattr(JudgedStorm, "witness", made)
    return made


def test_what_is_said_in_outages_is_true_of_the_twin(witness: Witness) -> None:
    for seed in SEEDS:
        JudgedStorm(draw(seed)).run()
    assert witness.untrue == []
    assert len(witness.judged) >= 55
    assert len([code for code in witness.shown if code.startswith("alarm ") and code[6:] in ALARM_CLAIMS]) >= 4


def test_what_is_said_as_devices_fail_and_people_ask_is_true_of_the_twin(witness: Witness) -> None:
    day = DemoDay(sunny(), step_s=1.0)
    for decision in decisions(day):
        witness.judge(day.lockstep, decision)
        witness.judge_alarms(day.lockstep, day.found, day.alarms.active())
    assert witness.untrue == []
    assert len(witness.judged) >= 45
    assert {"pcs.reverted_by_meters", "curtail.price", "plan.no_pcs", "manual.soc_evenly"} <= witness.judged


def test_what_is_said_on_the_demo_s_day_is_true_of_the_twin(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    applied = LockstepSite.apply

    def judged(self: LockstepSite, decision: Decision) -> None:
        witness.judge(self, decision)
        applied(self, decision)

    monkeypatch.setattr(LockstepSite, "apply", judged)
    day = DemoDay(step_s=1.0)
    for _ in range(DEMO_TICKS):
        day.step()
    assert witness.untrue == []
    assert {"budget.left", "ramp.limit", "fuse.worst_phase", "soc.stored"} <= witness.shown.keys()


def test_a_false_sentence_is_noticed(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLAIMS, "seen.switch_open", lambda truth, _: not truth.now.forming)
    JudgedStorm(draw(SEEDS[0])).run()
    assert any("seen.switch_open" in said for said in witness.untrue)
