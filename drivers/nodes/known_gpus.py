"""Remembers the GPUs of this machine: which there are, and their power limits from before Skerry capped them.

A limit is on disk before it is changed, so that a cap is lifted to what was, also by a gateway that starts after this
one was killed. GPUs are known by UUID. Power limits are in mW, as in NVML.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from dispatch.model.decoding import decoded
from drivers.nodes.saved_record import SavedRecord

CAPS_KEPT = 64  # of the power limits that caps have set


Milliwatts = Annotated[int, Meta(ge=1, le=10_000_000)]


class SeenGpu(msgspec.Struct, frozen=True):
    """How a GPU was last seen."""

    index: Annotated[int, Meta(ge=0, le=1024)]
    name: str


class GpuRecord(msgspec.Struct, frozen=True):
    """What is kept, GPUs by their keys."""

    count: Annotated[int, Meta(ge=0, le=1024)] = 0  # as many have answered at once
    seen: dict[str, SeenGpu] = {}
    original_mw: dict[str, Milliwatts] = {}  # limits from before the caps that may be in force
    caps_mw: tuple[Milliwatts, ...] = ()  # limits that these caps have set
    # GPUs seen before the first of these caps, and those freed since: unless in `original_mw`, they hold no cap.
    at_cap: tuple[str, ...] = ()


MOST_SEEN = 256  # GPUs that are known of one node: those of 64 slots, and what was in them before


class KnownGpus:
    """The record, in memory and on disk. Threads share it."""

    def __init__(self, kept: bytes | None = None, save: Callable[[bytes], None] | None = None) -> None:
        """`kept`: what `save` was last given; None: nothing. `save` is to return once it is on disk, or raise OSError.

        Without `save` the record lasts as long as the object.
        """
        self._lock = threading.Lock()
        self._most = 0  # GPUs that answered at once in this run
        self._record, self.damage = GpuRecord(), ""
        if kept is not None:
            try:
                self._record = decoded(msgspec.json.Decoder(GpuRecord).decode, kept)
            except msgspec.DecodeError as error:
                self.damage = str(error)
        self._saved = SavedRecord(self._record, save)

    @property
    def record(self) -> GpuRecord:
        """What is known now."""
        return self._record

    @property
    def capped(self) -> bool:
        """Whether a GPU may still hold a cap."""
        return bool(self._record.original_mw)

    @property
    def not_kept(self) -> str:
        """Why a limit that is needed to lift a cap is not on disk; empty: all are."""
        return "" if self._kept(self._record.original_mw, self._record.caps_mw) else self._saved.error

    def expected(self, declared: int) -> int:
        """How many GPUs are to answer. `declared`: by the site file; 0: not said."""
        return max(declared or self._record.count, self._most)

    def see(self, answered: Mapping[str, SeenGpu], declared: int) -> None:
        """Take in which GPUs answer. Those that do not stay known until as many answer as are expected."""
        with self._lock:
            if not answered:
                return
            complete = len(answered) >= self.expected(declared)
            self._most = max(self._most, len(answered))
            seen = dict(answered) if complete else self._record.seen | dict(answered)
            if len(seen) > MOST_SEEN:  # it names other ones each time
                seen = dict(answered)
            self._update(count=len(answered) if complete else self._record.count, seen=seen)

    def keep(self, original_mw: Mapping[str, int], caps_mw: Iterable[int], insist: bool = False) -> str:
        """Remember limits that are about to be changed; one that is known already stays.

        Returns why they are not on disk; empty: they are. Not on disk they are only remembered with `insist`.
        """
        with self._lock:
            before = self._record
            error = self._update(
                original_mw=dict(original_mw) | before.original_mw,
                caps_mw=tuple(dict.fromkeys((*before.caps_mw, *caps_mw)))[-CAPS_KEPT:],
                at_cap=before.at_cap if before.original_mw else tuple(before.seen),
            )
            if self._kept(original_mw, self._record.caps_mw):
                return ""
            if not insist:
                self._record = before
            return error

    def _kept(self, original_mw: Mapping[str, int], caps_mw: Iterable[int]) -> bool:
        """Whether these are on disk: without the limits that caps have set, the next gateway would not know its own."""
        on_disk = self._saved.on_disk
        return original_mw.keys() <= on_disk.original_mw.keys() and (
            not original_mw or set(caps_mw) <= {*on_disk.caps_mw}
        )

    def forget(self, keys: Iterable[str]) -> None:
        """These hold a limit of their own again."""
        with self._lock:
            gone = dict.fromkeys(keys)
            left = {key: mw for key, mw in self._record.original_mw.items() if key not in gone}
            familiar = tuple(dict.fromkeys((*self._record.at_cap, *gone)))
            self._update(original_mw=left, **({"at_cap": familiar} if left else {"caps_mw": (), "at_cap": ()}))

    def _update(self, **changes: object) -> str:
        """Change the record, and save it when it differs from what is on disk. Returns why it could not be saved."""
        self._record = msgspec.structs.replace(self._record, **changes)
        return self._saved.save(self._record)
