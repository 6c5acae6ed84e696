"""What a completed proof has shown: its figures, and whether the PCS may be commanded by them."""

from __future__ import annotations

import msgspec

from dispatch.commissioning.diagnosis import meter_fault
from dispatch.model.proofs import Estimate, MeasuredResponse, Reversion
from dispatch.model.reasons import Reason

PCS_GAIN_OFF = 0.05  # of what is asked: more is another unit, rating or scale than the map says
METER_GAIN_OFF = 0.1  # of what the PCS reads: two meters of class 1, losses between them
LEAVES = 0.36  # of the time constant: when a lag has moved by the share at which a power counts as left


def fault(response: MeasuredResponse) -> Reason | None:
    """Why the figures do not pass; None: they do."""
    gain, meter = response.pcs_gain, response.meter_gain
    if gain.high < 1 - PCS_GAIN_OFF or gain.low > 1 + PCS_GAIN_OFF:
        return Reason("prove.pcs_gain_off", {"gain": gain.value})
    if meter.high < 1 - METER_GAIN_OFF or meter.low > 1 + METER_GAIN_OFF:
        cause = meter_fault(meter.value, [phase.value for phase in response.phase_gains])
        return Reason("prove.meter_gain_off", {"gain": meter.value, "cause": cause})
    return None


def timer_ended(reversion: Reversion, response: MeasuredResponse) -> Reversion:
    """The same, with the time at which the device gave the setpoint up instead of that at which its power showed it."""
    after = reversion.after_s
    if after is None:
        return reversion
    dead, lag = response.dead_time_s, response.lag_s
    corrected = Estimate(
        max(after.value - dead.value - LEAVES * lag.value, 0.0),
        max(after.low - dead.high - LEAVES * lag.high, 0.0),
        after.high - dead.low,
    )
    return msgspec.structs.replace(reversion, after_s=corrected)
