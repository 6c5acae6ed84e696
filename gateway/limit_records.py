"""Keeps in the state directory what power limits were before caps: of this machine's GPUs `gpus.json`, of BMCs
`bmc-limits.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from drivers.nodes.bmc_limits import KeptLimits
from drivers.nodes.known_gpus import KnownGpus
from gateway.damaged_file import set_aside
from storage import durable_file
from storage.ballast import Ballast

FILE, BMC_FILE = "gpus.json", "bmc-limits.json"
UNKNOWN = "the limits that GPUs had before they were capped are not known"
BMC_UNKNOWN = "the limits that BMCs had before nodes were capped are not known"


class _Damageable(Protocol):
    damage: str


Record = TypeVar("Record", bound=_Damageable)
Made = Callable[[bytes | None, Callable[[bytes], None]], Record]


def open_gpu_record(state_dir: Path, ballast: Ballast | None = None) -> tuple[KnownGpus, str]:
    """The record, and what the log should say of it. One that is damaged is kept beside the new one.

    `ballast`: what is given up when the disk is full.
    """
    return _opened(state_dir / FILE, KnownGpus, UNKNOWN, ballast)


def open_bmc_limits(state_dir: Path, ballast: Ballast | None = None) -> tuple[KeptLimits, str]:
    """The same of the limits in BMCs."""
    return _opened(state_dir / BMC_FILE, KeptLimits, BMC_UNKNOWN, ballast)


def gpus_not_read(why: str) -> KnownGpus:
    """The record where its file could not be read at all; it is not replaced either."""
    return KnownGpus(b"", partial(_refuse, OSError(0, why, FILE)))


def bmc_limits_not_read(why: str) -> KeptLimits:
    """The same of the limits in BMCs."""
    return KeptLimits(b"", partial(_refuse, OSError(0, why, BMC_FILE)))


def _opened(path: Path, make: Made[Record], unknown: str, ballast: Ballast | None) -> tuple[Record, str]:
    room = ballast or Ballast(path.parent, 0)
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        kept = None
    except OSError as error:
        return make(b"", partial(_refuse, error)), f"{path} cannot be read: {error.strerror}; {unknown}"
    record = make(kept, lambda content: room.with_room(partial(durable_file.write, path, content)))
    if not record.damage:
        return record, ""
    return record, set_aside(path, record.damage, unknown)


def _refuse(error: OSError, _: bytes) -> NoReturn:
    """A file that cannot be read is not replaced: it may hold limits that are still needed."""
    raise error
