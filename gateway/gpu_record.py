"""Keeps what is known of this machine's GPUs in the state directory: `gpus.json`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

from drivers.nodes.known_gpus import KnownGpus
from gateway.damaged_file import set_aside
from storage import durable_file
from storage.ballast import Ballast

FILE = "gpus.json"
UNKNOWN = "the limits that GPUs had before they were capped are not known"


def open_gpu_record(state_dir: Path, ballast: Ballast | None = None) -> tuple[KnownGpus, str]:
    """The record, and what the log should say of it. One that is damaged is kept beside the new one.

    `ballast`: what is given up when the disk is full.
    """
    ballast = ballast or Ballast(state_dir, 0)
    path = state_dir / FILE
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        kept = None
    except OSError as error:
        return KnownGpus(b"", partial(_refuse, error)), f"{path} cannot be read: {error.strerror}; {UNKNOWN}"
    known = KnownGpus(kept, lambda content: ballast.with_room(partial(durable_file.write, path, content)))
    if not known.damage:
        return known, ""
    return known, set_aside(path, known.damage, UNKNOWN)


def gpus_not_read(why: str) -> KnownGpus:
    """The record where its file could not be read at all; it is not replaced either."""
    return KnownGpus(b"", partial(_refuse, OSError(0, why, FILE)))


def _refuse(error: OSError, _: bytes) -> NoReturn:
    """A file that cannot be read is not replaced: it may hold limits that are still needed."""
    raise error
