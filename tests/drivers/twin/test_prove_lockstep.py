"""Whole proofs in lock-step: what a right PCS shows, what wrong wiring shows, and what ends a proof."""

from __future__ import annotations

import msgspec
import pytest
from proof_bench import REVERT_S, LateReadingsBench, LateRenewalBench, ProofBench

from dispatch.commissioning.estimator import estimate
from dispatch.commissioning.verdict import fault, timer_ended
from dispatch.config.contact_terms import ContactTerms
from dispatch.control.controller import Controller
from dispatch.model.contacts import Contact
from dispatch.model.proofs import Estimate
from dispatch.model.readings import status
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.twin.physics import Ct


def within(found: Estimate, truth: float, off: float) -> bool:
    return found.low <= truth <= found.high and abs(found.value - truth) <= off


def test_a_proof_finds_what_the_twin_is_and_leaves_it_as_it_was() -> None:
    bench = ProofBench(pcs_dead_time_s=0.14, load_noise=0.01)
    procedure = bench.prove()
    assert procedure.completed, words(procedure.ended)
    found = estimate(procedure.recording)
    assert fault(found) is None
    assert within(found.dead_time_s, 0.14, 0.02)
    assert within(found.lag_s, 0.3, 0.05 * 0.3)
    assert within(found.meter_delay_s, 0.2, 0.02)
    assert within(found.pcs_gain, 1.0, 0.01)
    assert within(found.meter_gain, 1.0, 0.01)
    assert [within(gain, 1.0, 0.02) for gain in found.phase_gains] == [True] * 3
    assert found.ramp_w_per_s is None or within(found.ramp_w_per_s, 100_000, 20_000)
    reversion = procedure.reversion
    assert reversion is not None
    assert reversion.after_s is not None
    after_s = timer_ended(reversion, found).after_s
    assert after_s is not None
    assert within(after_s, REVERT_S, 0.3)
    assert reversion.to_w == pytest.approx(0, abs=50)
    assert procedure.at_zero is not None
    assert procedure.at_zero.w == pytest.approx(0, abs=10)
    asked = [w for _, w in procedure.recording.setpoints]
    assert asked[0] == asked[-1], "what was held before is held again"
    steps = [abs(w) for w in asked[1:-1] if w]
    assert steps[0] == 0.05 * 60_000
    assert max(steps) == 0.3 * 60_000


def test_a_silence_that_begins_with_a_renewal_is_counted_from_it() -> None:
    """Whether the first ticks of the wait showed one or not: else the time told would be a quarter of it too long."""
    procedure = LateRenewalBench().prove()
    assert procedure.completed, words(procedure.ended)
    assert procedure.reversion is not None
    assert procedure.reversion.after_s is not None
    assert within(timer_ended(procedure.reversion, estimate(procedure.recording)).after_s, REVERT_S, 0.3)


def test_a_pcs_that_does_not_revert_is_found_out() -> None:
    procedure = ProofBench(personality="cosmetic-revert").prove()
    assert procedure.completed
    assert procedure.reversion is not None
    assert procedure.reversion.after_s is None
    assert procedure.reversion.waited_s >= 1.25 * REVERT_S
    assert procedure.reversion.to_w == pytest.approx(procedure.reversion.held_w, rel=0.02)


@pytest.mark.parametrize(
    ("cts", "gain", "cause"),
    [
        ((Ct(0), Ct(1, -1.0), Ct(2)), 1 / 3, "prove.cts_reversed_on"),
        ((Ct(0, -1.0), Ct(1, -1.0), Ct(2, -1.0)), -1.0, "prove.meter_reversed"),
        ((Ct(1), Ct(0), Ct(2)), 0.0, "prove.phases_swapped"),
        ((Ct(0, 2.0), Ct(1, 2.0), Ct(2, 2.0)), 2.0, "prove.ct_ratio"),
    ],
)
def test_a_meter_that_is_wired_wrongly_ends_it_after_the_first_pair(
    cts: tuple[Ct, ...], gain: float, cause: str
) -> None:
    bench = ProofBench()
    bench.site.meters[0].cts = cts
    procedure = bench.prove()
    ended = procedure.ended
    assert ended is not None
    assert ended.code == "prove.meter_wrong", words(ended)
    assert ended.figures["meter_gain"] == pytest.approx(gain, abs=0.05)
    assert ended.figures["cause"].code == cause  # type: ignore[union-attr]
    assert {abs(w) for _, w in procedure.recording.setpoints[1:]} <= {0.0, 0.05 * 60_000}, "no larger step was made"


def test_a_pcs_that_is_read_late_is_judged_by_its_last_reading() -> None:
    procedure = LateReadingsBench().prove()
    assert procedure.completed, words(procedure.ended)
    answered = [line.figures["meter_gain"] for line in procedure.lines if line.code == "prove.answered"]
    assert answered == pytest.approx([1.0] * 6, abs=0.05)


def test_a_pcs_of_inverted_sign_ends_it_at_the_first_step() -> None:
    bench = ProofBench()
    bench.site.pcs[0].inverted = True
    procedure = bench.prove()
    assert procedure.ended is not None
    assert procedure.ended.code == "prove.inverted", words(procedure.ended)
    assert procedure.ended.figures["measured_w"] == pytest.approx(-3_000, abs=50)


def test_a_pcs_that_takes_the_setpoint_and_does_not_follow_ends_it() -> None:
    bench = ProofBench()

    def stuck(bench: ProofBench) -> None:
        bench.site.pcs[0].ramp_w_per_s = 1e-3 if bench.procedure and len(bench.procedure.lines) > 1 else 1e5

    procedure = bench.prove(stuck)
    assert procedure.ended is not None
    assert procedure.ended.code == "prove.not_followed", words(procedure.ended)
    assert procedure.ended.figures["held_w"] == pytest.approx(3_000)
    assert procedure.ended.figures["measured_w"] == pytest.approx(0, abs=50)


def test_a_load_pulse_ends_it_and_the_rules_steer_at_once() -> None:
    bench = ProofBench()

    def pulse(bench: ProofBench) -> None:
        if bench.procedure and len(bench.procedure.lines) >= 4:
            bench.site.load.step_w = 30_000.0

    procedure = bench.prove(pulse)
    assert procedure.ended is not None
    assert procedure.ended.code == "prove.load_moved", words(procedure.ended)
    assert bench.decision is not None
    assert "proof of" not in words(bench.decision.reason), "nothing is asked by the proof any more"


def test_a_limit_that_comes_during_the_silence_ends_it() -> None:
    """Nothing is written while the PCS is left to itself; what a limit takes must not wait for the end of that."""
    bench = ProofBench()
    step = ContactTerms(id="p14a", purpose="grid_operator", import_limit_w=10_000.0)
    bench.config = msgspec.structs.replace(bench.config, contacts=(step,))
    bench.controller = Controller(bench.config)
    read, silent = bench.lockstep.snapshot, False

    def snapshot(seq: int) -> Snapshot:
        contact = Contact("p14a", status("active" if silent else "inactive"))
        return msgspec.structs.replace(read(seq), contacts=(contact,))

    def limited(bench: ProofBench) -> None:
        nonlocal silent
        silent = bench.procedure is not None and any(line.code == "prove.silence" for line in bench.procedure.lines)

    bench.lockstep.snapshot = snapshot  # type: ignore[method-assign]
    procedure = bench.prove(limited)
    assert procedure.ended is not None
    assert procedure.ended.code == "prove.limited", words(procedure.ended)
    assert procedure.reversion is None


def test_an_order_of_a_person_ends_it() -> None:
    bench = ProofBench()

    def ordered(bench: ProofBench) -> None:
        bench.order = "o7" if bench.procedure and len(bench.procedure.lines) >= 2 else ""

    procedure = bench.prove(ordered)
    assert procedure.ended is not None
    assert "o7" in words(procedure.ended)


def test_a_load_that_is_not_calm_lets_none_begin() -> None:
    procedure = ProofBench(lambda t_s: 20_000.0 + 4_000.0 * (int(t_s) % 2)).prove()
    assert procedure.ended is not None
    assert procedure.ended.code == "prove.not_calm", words(procedure.ended)


def test_what_speaks_against_a_proof_is_named() -> None:
    assert [words(c.name) for c in ProofBench(soc_pct=55).settle() if not c.ok] == []
    assert [words(c.name) for c in ProofBench(soc_pct=80).settle("") if not c.ok] == ["a person on site", "SoC bat1"]
    assert [words(c.name) for c in ProofBench(62_000.0).settle() if not c.ok] == ["room for steps"]
