"""Whether a disk has room for what is to be written, beside the record that goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

SPARE = 64 << 20  # bytes that stay free for the record itself


class Room(NamedTuple):
    """What is needed and what is free on a disk, bytes."""

    needed: int  # with SPARE
    free: int

    @property
    def enough(self) -> bool:
        """Whether it fits."""
        return self.needed <= self.free

    def __str__(self) -> str:
        return f"{self.needed / 1e6:.1f} MB are needed, {self.free / 1e6:.1f} MB are free"


def room_for(size: int, place: Path) -> Room:
    """Room for `size` bytes on the disk on which `place` is, or will be once it is made. Raises OSError."""
    place = place.absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return Room(size + SPARE, shutil.disk_usage(place).free)
