"""Proofs, for tests that need any."""

from __future__ import annotations

import msgspec

from dispatch.model.equipment import DeviceIdentity, DeviceProof
from dispatch.model.proofs import AtZero, Estimate, MeasuredResponse, Proof, Reversion


def about(value: float, room: float) -> Estimate:
    """An estimate with an even range."""
    return Estimate(value, value - room, value + room)


PROOF = Proof(
    device_id="pcs1",
    driver="sunspec",
    identity=DeviceIdentity("Maker", "PCS 60", "4711", "3.51"),
    utc_s=1_773_309_600.0,
    who="eve",
    on_site="Eve",
    response=MeasuredResponse(
        pcs_gain=about(1.0, 0.005),
        meter_gain=about(0.99, 0.01),
        phase_gains=(about(0.99, 0.02), about(1.0, 0.02), about(0.98, 0.02)),
        dead_time_s=about(0.12, 0.02),
        lag_s=about(0.3, 0.02),
        ramp_w_per_s=None,
        meter_delay_s=about(0.4, 0.03),
    ),
    reversion=Reversion(3_000.0, 68.0, about(61.0, 0.3), 0.0),
    at_zero=AtZero(-12.0, "running"),
    largest_step_w=18_000.0,
    poll_s=0.2,
)

# what control and people see of such proofs
NOTE = DeviceProof(
    proven_at="2026-03-12T11:00:00+01:00",
    firmware="3.51",
    delay_low_s=0.35,
    delay_high_s=0.45,
    lag_low_s=0.4,
    waited_s=65.0,
    revert_after_s=61.0,
    revert_low_s=60.5,
    revert_high_s=61.5,
    revert_to_w=-500.0,
)
CHANGED = msgspec.structs.replace(NOTE, changed_utc_s=1_000.0, again_by="2026-03-26T09:00:00+01:00")
KEEPS = msgspec.structs.replace(NOTE, revert_after_s=None, revert_low_s=None, revert_high_s=None, revert_to_w=3_000.0)
