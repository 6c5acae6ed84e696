"""What has been proven of the devices of one running gateway: looked up by drivers, control, consoles; kept on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, tzinfo

import msgspec

from dispatch.alarms.device_conditions import AGAIN_S
from dispatch.model.equipment import DeviceHealth, DeviceIdentity, DeviceProof
from dispatch.model.proofs import NewFirmware, Proof, Proofs, proof_holds

Save = Callable[[Proofs], None]  # raises OSError; may take its time


class ProofsInForce:
    """The proofs, and which devices have another firmware now. Asked from the loop's thread; saved from another."""

    def __init__(self, drivers: Mapping[str, str], save: Save, zone: tzinfo = UTC) -> None:
        """`drivers`: of each PCS the name of its map, "sunspec" without one. `zone`: of the site."""
        self._drivers, self._save = drivers, save
        self._kept = Proofs()
        self._zone = zone
        self._proving = ""  # the device that is being proven
        self._lock = threading.Lock()  # of the file
        self.unsaved = False  # what is known differs from the disk

    def adopt(self, kept: Proofs) -> None:
        """Take over what was kept; what has been proven since then stands."""
        self._kept = Proofs(proofs={**kept.proofs, **self._kept.proofs}, changed={**kept.changed, **self._kept.changed})

    @property
    def kept(self) -> Proofs:
        """Everything known."""
        return self._kept

    def driver_of(self, device_id: str) -> str:
        """The name of a PCS's map."""
        return self._drivers.get(device_id, "")

    def note(self, device_id: str) -> DeviceProof | None:
        """What control and people need of a device's proof; None: it was never proven as what its driver is."""
        proof, changed = self._kept.proofs.get(device_id), self._kept.changed.get(device_id)
        if proof is None or proof.driver != self._drivers.get(device_id):
            return None
        after, delay = proof.reversion.after_s, proof.response.meter_delay_s
        return DeviceProof(
            proven_at=self._local(proof.utc_s),
            firmware=proof.identity.firmware,
            delay_low_s=delay.low,
            delay_high_s=delay.high,
            lag_low_s=proof.response.lag_s.low,
            waited_s=proof.reversion.waited_s,
            revert_after_s=None if after is None else after.value,
            revert_low_s=None if after is None else after.low,
            revert_high_s=None if after is None else after.high,
            revert_to_w=proof.reversion.to_w,
            changed_utc_s=None if changed is None else changed.since_utc_s,
            again_by="" if changed is None else self._local(changed.since_utc_s + AGAIN_S),
            serial=proof.identity.serial,
        )

    def _local(self, utc_s: float) -> str:
        return datetime.fromtimestamp(utc_s, self._zone).isoformat(timespec="seconds")

    def under_way(self, device_id: str) -> None:
        """Note which device is being proven; "": none."""
        self._proving = device_id

    def proven(self, device_id: str, map_name: str, identity: DeviceIdentity) -> bool:
        """Whether a device may be commanded by a map that has no vectors: proven as it is now, or being proven."""
        if device_id == self._proving:
            return True
        proof = self._kept.proofs.get(device_id)
        return proof is not None and proof_holds(proof, map_name, identity)

    def add(self, proof: Proof) -> None:
        """A device has been proven."""
        changed = {id: change for id, change in self._kept.changed.items() if id != proof.device_id}
        self._kept = Proofs(proofs={**self._kept.proofs, proof.device_id: proof}, changed=changed)
        self.unsaved = True

    def look(self, devices: Iterable[DeviceHealth], utc_s: float) -> list[tuple[str, Proof, NewFirmware | None]]:
        """Compare what devices say they are with what was proven. The changes: now another one, or (None) as proven."""
        found: list[tuple[str, Proof, NewFirmware | None]] = []
        changed = dict(self._kept.changed)
        for device in devices:
            proof, now = self._kept.proofs.get(device.id), device.identity
            if proof is None or now is None or not device.online:
                continue
            before = changed.get(device.id)
            if now == proof.identity:
                if changed.pop(device.id, None) is not None:
                    found.append((device.id, proof, None))
            elif before is None or before.identity != now:
                since_s = utc_s if before is None else before.since_utc_s
                changed[device.id] = NewFirmware(now, since_s)
                found.append((device.id, proof, changed[device.id]))
        if found:
            self._kept = msgspec.structs.replace(self._kept, changed=changed)
            self.unsaved = True
        return found

    def save(self) -> None:
        """Put what is known on disk, if it differs. For a thread of its own. Raises OSError."""
        with self._lock:
            if self.unsaved:
                self.unsaved = False
                try:
                    self._save(self._kept)
                except OSError:
                    self.unsaved = True
                    raise
