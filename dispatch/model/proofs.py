"""Defines what `skerry devices prove` has measured of a PCS, and whose measurement it is.

Watts at the AC terminals, > 0 discharges; times in seconds of the site's clock. A gain of 1 is as it should be: a PCS
that gives what is asked, a meter whose import falls by what a PCS gives more.
"""

from __future__ import annotations

import msgspec

from dispatch.model.equipment import DeviceIdentity
from dispatch.model.reasons import Reason

VERSION = 1  # of the file in which they are kept


class Estimate(msgspec.Struct, frozen=True):
    """A figure as estimated, and the range that holds the true one in at least 99 of 100 cases."""

    value: float
    low: float
    high: float


class MeasuredResponse(msgspec.Struct, frozen=True):
    """How a PCS answers a setpoint, and how the grid meter shows it."""

    pcs_gain: Estimate  # power by the PCS itself per setpoint asked
    meter_gain: Estimate  # fall of import per power by the PCS itself
    phase_gains: tuple[Estimate, ...]  # the same of L1..L3, each against a third; empty: the meter gives no phases
    dead_time_s: Estimate  # from the decision to the first answer in the PCS's own reading, the write included
    lag_s: Estimate  # time constant
    ramp_w_per_s: Estimate | None  # None: no step was large enough to be limited by a ramp
    meter_delay_s: Estimate  # of the grid reading after the PCS's own; < 0: the PCS's is the later one


class Reversion(msgspec.Struct, frozen=True):
    """What it did when its setpoint was no longer written, while it was still read."""

    held_w: float
    waited_s: float
    after_s: Estimate | None  # from the last renewal; None: it kept the setpoint for as long as was waited
    to_w: float | None = None  # its power afterwards


class AtZero(msgspec.Struct, frozen=True):
    """What a setpoint of 0 W does."""

    w: float  # its own reading, mean
    state: str  # its state word; empty: it gives none


class Proving(msgspec.Struct, frozen=True):
    """What a proof under way asks of a PCS in this tick."""

    pcs_id: str
    w: float
    who: str = ""
    silent: bool = False  # nothing is written to it
    after_s: float = 0.0  # the setpoint is written so long after the tick


AS_ASKED_W = 1.0  # a setpoint so near is the one that a proof asks for


def as_asked(proving: Proving, w: float | None) -> bool:
    """Whether the PCS was given what its proof asks for; what it was given otherwise comes of a limit or a stop."""
    return w is not None and abs(w - proving.w) <= AS_ASKED_W


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One passed proof of one device."""

    device_id: str
    driver: str  # name of its map; "sunspec" without one
    identity: DeviceIdentity
    utc_s: float
    who: str
    on_site: str  # the person who watched it
    response: MeasuredResponse
    reversion: Reversion
    at_zero: AtZero
    largest_step_w: float
    poll_s: float  # between two readings


class ProofReport(msgspec.Struct, frozen=True, kw_only=True):
    """A proof under way, or the last one of this run of the gateway."""

    pcs_id: str
    who: str
    on_site: str
    started_utc_s: float
    lines: tuple[Reason, ...]  # what the person on site is to see, in order
    running: bool
    result: Reason | None = None  # None while it runs
    response: MeasuredResponse | None = None
    reversion: Reversion | None = None
    at_zero: AtZero | None = None
    proven: bool = False


class NewFirmware(msgspec.Struct, frozen=True):
    """Since when a proven device has been seen with another firmware, or as another device, than proven."""

    identity: DeviceIdentity
    since_utc_s: float


class Proofs(msgspec.Struct, frozen=True):
    """Everything that is kept: by device id."""

    version: int = VERSION
    proofs: dict[str, Proof] = {}
    changed: dict[str, NewFirmware] = {}


def proof_holds(proof: Proof, driver: str, identity: DeviceIdentity | None) -> bool:
    """Whether a proof is of this device as it is now: driver, maker, model, serial number and firmware.

    A device that has not told its identity yet is not known to be the one.
    """
    return proof.driver == driver and identity is not None and proof.identity == identity
