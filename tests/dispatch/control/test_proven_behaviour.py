"""What control makes of a proof: delays, lag, half power after another firmware, what a silent PCS does, alarms."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proven_pcs import CHANGED, KEEPS
from proven_pcs import NOTE as PROOF
from small_site import a_pcs, a_snapshot, site_config

from dispatch.alarms.device_conditions import AGAIN_S, proof_conditions
from dispatch.config.schema import GridConfig
from dispatch.control.controller import Controller
from dispatch.control.exit_behaviour import if_gateway_dies
from dispatch.control.net_load_estimator import NetLoadEstimator
from dispatch.control.pcs_limits import Ready, units
from dispatch.control.proven_behaviour import DEFAULT, Response, response
from dispatch.model.decision import Decision, Setpoint
from dispatch.model.equipment import DeviceHealth, DeviceIdentity, DeviceProof
from dispatch.model.readings import MISSING, Quality, Reading, reading, status
from dispatch.model.reasons import RuleId
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words


def health(proof: DeviceProof | None) -> DeviceHealth:
    return DeviceHealth("pcs1", "pcs", True, 0.0, 1, 0, 0, identity=DeviceIdentity(firmware="3.60"), proof=proof)


@given(st.floats(0, 5), st.floats(0, 5), st.floats(0, 5), st.floats(0, 5), st.booleans())
def test_a_declared_delay_is_only_widened_and_an_undeclared_one_replaced(
    low_s: float, more_s: float, least_s: float, wider_s: float, changed: bool
) -> None:
    grid = GridConfig(fuse_a=100, contracted_peak_w=1, meter_delay_min_s=least_s, meter_delay_max_s=least_s + wider_s)
    proof = msgspec.structs.replace(CHANGED if changed else PROOF, delay_low_s=low_s, delay_high_s=low_s + more_s)
    found = response(grid, proof)
    assert found.delay_min_s <= low_s
    assert found.delay_max_s >= low_s + more_s
    if changed or (grid.meter_delay_min_s, grid.meter_delay_max_s) != DEFAULT:
        assert found.delay_min_s <= grid.meter_delay_min_s
        assert found.delay_max_s >= grid.meter_delay_max_s
    undeclared = response(GridConfig(fuse_a=100, contracted_peak_w=1), PROOF)
    assert (undeclared.delay_min_s, undeclared.delay_max_s) == (0.35, 0.45)
    assert 0 < undeclared.lag_s < PROOF.lag_low_s


def test_after_another_firmware_the_default_delay_and_the_fastest_lag_count() -> None:
    found = response(GridConfig(fuse_a=100, contracted_peak_w=1), CHANGED)
    assert (found.delay_min_s, found.delay_max_s, found.lag_s) == (*DEFAULT, 0.0)


def test_a_proven_delay_makes_the_band_narrow_sooner() -> None:
    widths = []
    for proven in ({}, {"pcs1": Response(0.0, 0.2, 0.3)}):
        net = NetLoadEstimator(0.0, 2.0, ["pcs1"])
        net.use(proven)
        for tick in range(30):
            pcs_w = 0.0 if tick < 20 else 10_000.0
            snapshot = a_snapshot(tick * 0.2, 20_000.0 - pcs_w, a_pcs(pcs_w))
            net.update(snapshot)
        assert net.band is not None
        widths.append(net.band.high_w - net.band.low_w)
    assert widths[0] > 5_000
    assert widths[1] < 1


def test_a_pcs_that_is_not_as_proven_has_half_of_its_power_and_says_why() -> None:
    config = site_config()
    (unit,) = units(config, a_snapshot(), {}, {}, {"pcs1": CHANGED})
    assert (unit.low_w, unit.high_w) == (-30_000.0, 30_000.0)
    assert words(unit.high_why) == "30.0 kW, half of its rating: it is not as it was proven"
    (unit,) = units(config, a_snapshot(), {}, {}, {"pcs1": PROOF})
    assert unit.high_w == 60_000.0


def most_w(decision: Decision) -> float:
    return next(trace.high_w for trace in decision.chain if trace.rule is RuleId.DEVICE_LIMITS)


def test_a_change_counts_from_the_next_tick_on_the_grid_and_not_before() -> None:
    def with_proof(snapshot: Snapshot, proof: DeviceProof) -> Snapshot:
        return msgspec.structs.replace(snapshot, devices=(health(proof),))

    controller = Controller(site_config())
    for n in range(5):
        decision = controller.step(with_proof(a_snapshot(n * 0.2, 20_000.0 + n, a_pcs(0.1 * n)), PROOF), None)
    assert most_w(decision) == 60_000.0
    off = a_snapshot(1.0, switch="open", pcs=a_pcs(0.0, mode=status("grid_forming")))
    decision = controller.step(with_proof(off, CHANGED), None)
    assert decision.island.value != "grid-tied"
    assert controller._proofs == {"pcs1": PROOF}, "nothing changes while it is not grid-tied"
    again = Controller(site_config())
    for n in range(5):
        decision = again.step(with_proof(a_snapshot(n * 0.2, 20_000.0 + n, a_pcs(0.1 * n)), CHANGED), None)
    assert most_w(decision) == 30_000.0


@pytest.mark.parametrize(
    ("proof", "age_s", "assumed_w"),
    [
        (None, 100.0, 3_000.0),
        (PROOF, 50.0, 3_000.0),
        (PROOF, 100.0, -500.0),
        (KEEPS, 1_000.0, 3_000.0),
        (CHANGED, 100.0, 3_000.0),
    ],
)
def test_a_silent_pcs_without_a_countdown_is_taken_to_do_what_was_proven(
    proof: DeviceProof | None, age_s: float, assumed_w: float
) -> None:
    lost = a_pcs(Reading(3_000.0, age_s, Quality.STALE), revert_remaining_s=MISSING)
    snapshot = msgspec.structs.replace(a_snapshot(), pcs=(lost,))
    (unit,) = units(site_config(), snapshot, {"pcs1": 3_000.0}, {}, {} if proof is None else {"pcs1": proof})
    assert unit.ready is Ready.LOST
    assert unit.fixed_w == assumed_w


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        (PROOF, "pcs1 reverts to -0.5 kW after 61 s, proven 2026-03-12 11:00, fw 3.51"),
        (KEEPS, "did not revert in 65 s, proven 2026-03-12 11:00, fw 3.51"),
        (CHANGED, "(timer read back, not tried)"),
        (None, "(timer read back, not tried)"),
    ],
)
def test_what_a_pcs_does_when_the_gateway_dies_is_told_as_it_was_proven(proof: DeviceProof | None, said: str) -> None:
    ours = {"setpoint_w": reading(3_000.0), "setpoint_enabled": reading(1.0), "revert_after_s": reading(30.0)}
    pcs = a_pcs(3_000.0, **ours, revert_remaining_s=reading(20.0), revert_to_w=reading(0.0))
    decision = Controller(site_config()).step(a_snapshot(), None)
    assert said in words(if_gateway_dies(pcs, decision, [health(proof)]))


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        (PROOF, "pcs1 reverts to -0.5 kW after 61 s, proven"),
        (KEEPS, "pcs1 keeps the setpoint last written, which cannot be read back: it did not revert in 65 s, proven"),
        (CHANGED, "drops its setpoint after 60 s (by its device map, not tried)"),
    ],
)
def test_of_a_setpoint_that_cannot_be_read_back_what_was_proven_counts(proof: DeviceProof, said: str) -> None:
    pcs = a_pcs(3_000.0, revert_after_s=reading(60.0), revert_by_map=True)
    step = Controller(site_config()).step(a_snapshot(), None)
    decision = msgspec.structs.replace(step, setpoints=(Setpoint("pcs1", 3_000.0),))
    assert said in words(if_gateway_dies(pcs, decision, [health(proof)]))


def test_another_serial_number_than_proven_is_named_and_so_is_that_of_the_proof() -> None:
    device = msgspec.structs.replace(health(CHANGED), identity=DeviceIdentity(serial="0815", firmware="3.51"))
    for serial, said in (
        ("4711", "serial number 4711 was proven, now 0815;"),
        ("", "number not told was proven, now 0815"),
    ):
        proof = msgspec.structs.replace(CHANGED, serial=serial)
        found = dict(proof_conditions(msgspec.structs.replace(device, proof=proof), 1_010.0))
        detail = found["not-as-proven:pcs1"].detail
        assert detail is not None
        assert said in words(detail)


@pytest.mark.parametrize(
    ("proof", "after_s", "active"),
    [(PROOF, 0.0, set()), (CHANGED, 10.0, {"not-as-proven:pcs1"}), (CHANGED, AGAIN_S + 1, {"proof-overdue:pcs1"})],
)
def test_another_firmware_is_an_alarm_that_rises_after_a_week(
    proof: DeviceProof, after_s: float, active: set[str]
) -> None:
    found = dict(proof_conditions(health(proof), 1_000.0 + after_s))
    assert {id for id, condition in found.items() if condition.active} == active
    for condition in found.values():
        assert (
            condition.detail is None or "proven with firmware 3.51, now 3.60" in words(condition.detail) or not active
        )
