"""Reasons on record: code and figures, and the sentences of rows that version 0.1.0 wrote."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from storage_samples import T0, feed

from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.wording.catalogue import words
from storage import schema
from storage.config import StorageConfig
from storage.export.writer import export
from storage.reader import Archive
from storage.recorder import Recorder

CONFIG = StorageConfig(flush_s=0.1)
SENTENCE = "charge 3.0 kW — plan: price 4.1 → 10.0 ct/kWh at 08:00"
CHAIN = (
    '[[0,"protection",-60000.0,null,null,false,"1 of 1 PCS are free to be commanded"],'
    '[8,"plan",-60000.0,12345.6,-3000.0,true,"price 4.1 → 10.0 ct/kWh at 08:00"]]'
)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory whose telemetry has the schema and one decision of version 0.1.0."""
    with sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None) as con, monkeypatch.context() as older:
        older.setattr(schema, "STEPS", schema.STEPS[:3])
        schema.prepare(con)
        schema.migrate(con, tmp_path / "telemetry.db")
        con.execute("INSERT INTO run VALUES (1, 'boot', 1)")
        con.execute(
            "INSERT INTO decision (ts_utc_us, run, seq, mode, island, binding, reason, battery_w, net_load_w, "
            "import_target_w, setpoints, chain) VALUES (?, 1, 7, 'plan', 'grid-tied', 'plan', ?, -3000.0, 20000.0, "
            "23000.0, '[[\"pcs1\",-3000.0]]', ?)",
            (int((T0 - 30) * 1e6), SENTENCE, CHAIN),
        )
    con.close()
    return tmp_path


def check_old_row(directory: Path) -> None:
    decision = Archive(directory).why(T0 - 20)
    assert decision is not None
    assert decision.binding is RuleId.PLAN
    assert decision.reason == Reason("text", {"text": SENTENCE})
    assert words(decision.reason) == SENTENCE
    assert [(t.rule, t.high_w, t.bound, t.unmet) for t in decision.chain] == [
        (RuleId.PROTECTION, float("inf"), False, False),
        (RuleId.PLAN, 12_345.6, True, False),
    ]
    assert decision.chain[0].reason == plain("1 of 1 PCS are free to be commanded")


def test_a_file_of_0_1_0_is_read_as_it_is(old: Path) -> None:
    check_old_row(old)
    assert [d.seq for d in Archive(old).decisions(T0 - 60, T0)] == [7]


def test_a_migrated_file_keeps_old_sentences_beside_new_codes(old: Path) -> None:
    recorder = Recorder(old, CONFIG, "boot")
    feed(recorder, range(50))
    recorder.flush().result(10)
    assert recorder.close()
    check_old_row(old)
    new = Archive(old).why(T0 + 1)
    assert new is not None
    assert new.reason.code == "decision.no_setpoint"
    assert new.chain[1].unmet
    assert isinstance(new.chain[1].reason.figures["left_s"], float)
    con = sqlite3.connect(old / "telemetry.db")
    assert con.execute("SELECT code, figures FROM decisions ORDER BY t").fetchone() == (
        "text",
        msgspec.json.encode({"text": SENTENCE}).decode(),
    )
    rows = con.execute("SELECT rule, preferred_w, bound, unmet, code FROM decision_chain ORDER BY t").fetchall()
    assert rows[:2] == [("protection", None, 0, 0, "text"), ("plan", -3_000.0, 1, 0, "text")]
    con.close()


def test_an_export_says_old_and_new_in_words(old: Path) -> None:
    recorder = Recorder(old, CONFIG, "boot")
    feed(recorder, range(50))
    recorder.flush().result(10)
    assert recorder.close()
    export(old, old / "out", T0 - 60, T0 + 60)
    lines = (old / "out" / "decisions.csv").read_text(encoding="utf-8").splitlines()
    assert SENTENCE in lines[1]
    assert "no setpoint — interval budget: 3.2 kWh left" in lines[2]
