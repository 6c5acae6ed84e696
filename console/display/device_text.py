"""What is said of a device and its registers: identity, link, values."""

from __future__ import annotations

from collections.abc import Sequence

from console.display.formats import date_clock
from dispatch.model.equipment import DeviceHealth
from dispatch.model.proofs import Proofs
from drivers.register_view import RegisterValue


def identity_text(device: DeviceHealth) -> str:
    """What it says it is; empty where it says nothing."""
    return "" if device.identity is None else device.identity.text


def link_text(device: DeviceHealth) -> str:
    """Round trips, reads and writes so far; what matters most first."""
    told, link = [f"{device.reads} reads", f"{device.failures} failed"], device.link
    if link is not None:
        if link.round_trip_ms is not None and link.round_trip_worst_ms is not None:
            told.insert(0, f"{link.round_trip_ms:.1f} ms, worst {link.round_trip_worst_ms:.1f}")
        told += [f"{link.refusals} refused"] if link.refusals else []
        told += [] if link.connect_ms is None else [f"connected in {link.connect_ms:.0f} ms"]
    told += [f"{device.writes} setpoints"] if device.writes else []
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
        return f"not yet: skerry devices prove {device.id}" if device.kind == "pcs" else ""
    after = proof.reversion.after_s
    kept = f"keeps a setpoint for more than {proof.reversion.waited_s:.0f} s"
    reverts = kept if after is None else f"reverts after {after.value:.0f} s"
    day = date_clock(proof.utc_s, zone).split()[0]
    gain = proof.response.pcs_gain.value
    firmware = f", firmware {proof.identity.firmware}" if proof.identity.firmware else ""
    now = ""
    if device.identity is not None and device.identity != proof.identity:
        by = device.proof.again_by[:10] if device.proof is not None else ""
        now = f"; is now {device.identity.text}: half of its power, prove it again{f' by {by}' if by else ''}"
    return f"{reverts}, gain {gain:.2f}, proven {day}{firmware}{now}"
