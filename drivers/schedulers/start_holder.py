"""What keeps power back from jobs that start: licences of Slurm, or a limit of a render manager."""

from __future__ import annotations

from typing import Protocol

import msgspec

from dispatch.planning.start_allowance import Licences


class Seen(msgspec.Struct, frozen=True):
    """What a scheduler holds now."""

    licences: Licences
    kept: int | None  # kept back by us; None: nothing of ours is set
    changed: str = ""  # how another has changed what we had set; empty: nobody has
    stays: bool = False  # what the other has set is left as it is
    in_vain: str = ""  # why no job waits for what is kept back, and what to do; empty: they do, or it is not known


class StartHolder(Protocol):
    """Keeps licences back, or sets a limit. One call at a time."""

    unit_w: float  # of one licence, or of one frame

    async def look(self) -> Seen:
        """What is so now. Raises QueueNotRead."""

    async def keep(self, count: int, seen: Seen) -> None:
        """Keep so many back from now on, 0: none. `seen`: the last look. Raises QueueNotRead."""

    async def end(self) -> None:
        """The gateway ends. Raises QueueNotRead."""

    def lapses(self, kept: int) -> str:
        """What becomes of what is kept back if nothing more is said; for people."""
