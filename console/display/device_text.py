"""What is said of a device and its registers: identity, link, values."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import date_clock
from console.display.language import say
from dispatch.model.equipment import DeviceHealth
from dispatch.model.proofs import Proofs
from drivers.register_view import RegisterValue


def identity_text(device: DeviceHealth) -> str:
    """What it says it is; empty where it says nothing."""
    return "" if device.identity is None else device.identity.text


def link_text(device: DeviceHealth) -> str:
    """Round trips, reads and writes so far; what matters most first."""
    told, link = [say("device.reads", n=device.reads), say("device.failed", n=device.failures)], device.link
    if link is not None:
        if link.round_trip_ms is not None and link.round_trip_worst_ms is not None:
            ms, worst = f"{link.round_trip_ms:.1f}", f"{link.round_trip_worst_ms:.1f}"
            told.insert(0, say("device.round_trip", ms=ms, worst=worst))
        told += [say("device.refused", n=link.refusals)] if link.refusals else []
        told += [] if link.connect_ms is None else [say("device.connected", ms=f"{link.connect_ms:.0f}")]
    told += [say("device.setpoints", n=device.writes)] if device.writes else []
    return " · ".join(told)


def raw_text(raw: Sequence[int], width: int) -> str:
    """Words in hexadecimal, as many as fit whole."""
    text = " ".join(f"{word:04X}" for word in raw)
    return text if len(text) <= width else f"{text[: (width - 1) // 5 * 5 - 1]}…"


def register_value_text(row: RegisterValue) -> str:
    """The value with its unit; empty where the meaning is not known, "—" where the device has none."""
    if not row.name:
        return ""
    if row.value is None:
        return "—"
    value = f"{row.value:.7g}" if isinstance(row.value, float) else str(row.value)
    return f"{value} {row.quantity}".rstrip()


def proven_text(device: DeviceHealth, proofs: Proofs, zone: str) -> str:
    """ "reverts after 61 s, gain 0.99, proven 2026-03-12, firmware 3.51"; empty for what is no PCS.

    Of one with another firmware, or in place of another: that it has half of its power, and until when to prove it.
    """
    proof = proofs.proofs.get(device.id)
    if proof is None:
        return say("device.not_yet", device=device.id) if device.kind == "pcs" else ""
    after = proof.reversion.after_s
    if after is None:
        reverts = say("device.keeps", s=f"{proof.reversion.waited_s:.0f}")
    else:
        reverts = say("device.reverts", s=f"{after.value:.0f}")
    day = date_clock(proof.utc_s, zone).split()[0]
    gain = f"{proof.response.pcs_gain.value:.2f}"
    firmware = say("device.firmware", firmware=proof.identity.firmware) if proof.identity.firmware else ""
    now = ""
    if device.identity is not None and device.identity != proof.identity:
        by = device.proof.again_by[:10] if device.proof is not None else ""
        what = device.identity.text
        now = say("device.is_now_by", what=what, day=by) if by else say("device.is_now", what=what)
    return say("device.proven", what=reverts, gain=gain, day=day, firmware=firmware, now=now)
