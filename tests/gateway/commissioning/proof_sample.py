"""A proof of the PCS that `pcs1` is in other tests."""

from __future__ import annotations

import msgspec

from dispatch.model.equipment import DeviceIdentity
from dispatch.model.proofs import Proof, Proofs

HERE = DeviceIdentity("Stranger", "PCS 60", "4711", "3.51")
FIGURE = {"value": 1.0, "low": 0.9, "high": 1.1}


def proofs(after_s: float | None = 61.0) -> Proofs:
    """`after_s`: when it reverted; None: not while that was waited for."""
    proof = {
        "device_id": "pcs1",
        "driver": "sunspec",
        "identity": msgspec.to_builtins(HERE),
        "utc_s": 1_773_316_800.0,
        "who": "tech1",
        "on_site": "Anna",
        "largest_step_w": 1e4,
        "poll_s": 0.2,
        "response": dict.fromkeys(("pcs_gain", "meter_gain", "dead_time_s", "lag_s", "meter_delay_s"), FIGURE)
        | {"phase_gains": [], "ramp_w_per_s": None},
        "reversion": {
            "held_w": 5e3,
            "waited_s": 90.0,
            "after_s": None if after_s is None else {"value": after_s, "low": after_s - 1, "high": after_s + 1},
        },
        "at_zero": {"w": 0.0, "state": "running"},
    }
    return Proofs(proofs={"pcs1": msgspec.convert(proof, Proof)})
