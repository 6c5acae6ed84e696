"""Says what each PCS does if the gateway dies: it reverts by its own timer, or keeps its last setpoint.

What counts is what the device itself says of its timer (SunSpec model 704: WSetRvrtTms, WSetRvrtRem, WSetRvrt), read
back with every reading; of a device by a map, what the map says. Neither is tried here, and the words
say so; where it was proven at commissioning, that counts instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatch.model.decision import Decision
from dispatch.model.equipment import DeviceHealth, DeviceProof, Pcs
from dispatch.model.reasons import Reason

LASTS_S = 5.0  # another statement is told once it has held for so long: a timer that ends is started anew at once

Kind = tuple[object, ...]


def if_gateway_dies(pcs: Pcs, decision: Decision, devices: Iterable[DeviceHealth] = ()) -> Reason:
    """What this PCS does without the gateway, as far as it is known now. `devices`: with what was proven of them."""
    if pcs.mode.good == "grid_forming":
        return Reason("dies.forms", {"pcs": pcs.id})
    enabled, held_w = pcs.setpoint_enabled.good, pcs.setpoint_w.good
    asked = any(s.device_id == pcs.id and s.w is not None for s in decision.setpoints)
    proof = next((d.proof for d in devices if d.id == pcs.id and d.proof and d.proof.changed_utc_s is None), None)
    if enabled is None or held_w is None:
        return _not_read(pcs, proof)
    if enabled == 0:
        return Reason("dies.not_enabled", {"pcs": pcs.id}) if asked else Reason("dies.not_asked", {"pcs": pcs.id})
    if proof is not None:
        return _proven(pcs.id, proof, held_w)
    return _by_map(pcs) or _by_timer(pcs, held_w)


def _not_read(pcs: Pcs, proof: DeviceProof | None) -> Reason:
    """Of one whose setpoint is not read: only a map says that one of ours was written; then what was proven counts."""
    by_map = _by_map(pcs)
    if by_map is None:
        return Reason("dies.not_read", {"pcs": pcs.id})
    if proof is None:
        return by_map
    if proof.revert_after_s is not None:
        return _proven(pcs.id, proof, None)
    return Reason(
        "dies.proven_keeps_unread",
        {
            "pcs": pcs.id,
            "waited_s": proof.waited_s,
            "proven_local": proof.proven_at,
            "firmware": _firmware(proof),
        },
    )


def _by_map(pcs: Pcs) -> Reason | None:
    """What its device map says of a silence, neither read back nor tried; None: no map says anything now."""
    after_s = pcs.revert_after_s.good
    if not pcs.revert_by_map or after_s is None:
        return None
    if after_s == 0:
        return Reason("dies.map_keeps", {"pcs": pcs.id})
    return Reason("dies.map_reverts", {"pcs": pcs.id, "after_s": after_s})


def _by_timer(pcs: Pcs, held_w: float) -> Reason:
    """What its own timer says, read back and not tried."""
    after_s, left_s, to_w = pcs.revert_after_s.good, pcs.revert_remaining_s.good, pcs.revert_to_w.good
    if not after_s or left_s == 0:
        return Reason("dies.keeps", {"pcs": pcs.id, "held_w": held_w})
    if to_w is None:
        return Reason("dies.reverts_somewhere", {"pcs": pcs.id, "after_s": after_s})
    return Reason("dies.reverts", {"pcs": pcs.id, "after_s": after_s, "to_w": to_w})


def _firmware(proof: DeviceProof) -> Reason | None:
    return Reason("dies.firmware", {"firmware": proof.firmware}) if proof.firmware else None


def _proven(name: str, proof: DeviceProof, held_w: float | None) -> Reason:
    firmware = _firmware(proof)
    if proof.revert_after_s is None:
        return Reason(
            "dies.proven_keeps",
            {
                "pcs": name,
                "held_w": held_w,
                "waited_s": proof.waited_s,
                "proven_local": proof.proven_at,
                "firmware": firmware,
            },
        )
    return Reason(
        "dies.proven",
        {
            "pcs": name,
            "after_s": proof.revert_after_s,
            "to_w": proof.revert_to_w,
            "proven_local": proof.proven_at,
            "firmware": firmware,
        },
    )


class ExitStatements:
    """What is to be told: of each PCS the first statement, and each one of another kind that lasts."""

    def __init__(self) -> None:
        self._told: dict[str, Kind] = {}
        self._next: dict[str, tuple[Kind, float]] = {}  # of another kind than told, and since when

    def update(
        self, mono_s: float, units: Iterable[Pcs], decision: Decision, devices: Iterable[DeviceHealth] = ()
    ) -> list[tuple[str, Reason]]:
        """The statements to tell now, with their PCS. Once per tick."""
        found = [(pcs.id, if_gateway_dies(pcs, decision, devices)) for pcs in units]
        return [(name, why) for name, why in found if why.code != "dies.not_read" and self._is_due(mono_s, name, why)]

    def _is_due(self, mono_s: float, name: str, why: Reason) -> bool:
        kind: Kind = (why.code, why.figures.get("after_s"), why.figures.get("to_w"))
        told = self._told.get(name)
        if kind == told:
            self._next.pop(name, None)
            return False
        if name not in self._next or self._next[name][0] != kind:
            self._next[name] = kind, mono_s
        if told is not None and mono_s - self._next[name][1] < LASTS_S:
            return False
        self._told[name] = kind
        return True
