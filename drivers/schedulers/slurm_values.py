"""What single values that squeue prints mean. All functions take any text and raise ValueError where it says nothing.

Formats: man squeue, man sbatch of Slurm 20.11 to 24.05; 22.05 was run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

Tasks = tuple[list[range], int | None, bool]  # ranges, how many may run at once, whether that is all of them
NOTHING = frozenset({"", "N/A", "(null)", "NONE", "None", "Unknown"})
NO_LIMIT = NOTHING | {"UNLIMITED", "NOT_SET", "INVALID", "Partition_Limit"}
MOST_COUNT = 10_000_000
LATEST_S = 10_000_000_000  # the year 2286; beyond are Slurm's marks for "not set"
UNITS = {"K": 1024, "M": 1024**2}
_LIMIT = re.compile(r"(?:(?P<days>\d{1,6})-)?(?P<first>\d{1,9})(?::(?P<second>\d{1,2}))?(?::(?P<third>\d{1,2}))?")
_COUNT = re.compile(r"(\d{1,9})(?:-\d{1,9})?(?:\.\d+)?([KM]?)")
_ENTRIES = re.compile(r"(?:[^,()]|\([^()]*\))+")
_TASKS = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?")


# Most jobs of a queue are alike, and a pattern costs ten times what looking up an answer does.
remembered = lru_cache(maxsize=2_000)


def utc_s_of(text: str) -> float | None:
    """A time as `SLURM_TIME_FORMAT=%s` gives it; None where there is none."""
    if text in NOTHING:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError("seconds since 1970")
    seconds = int(text[:20])
    return float(seconds) if 0 < seconds < LATEST_S else None


@remembered
def duration_s_of(text: str) -> float | None:
    """MM:SS, HH:MM:SS, D-HH:MM:SS; None for no limit."""
    if text in NO_LIMIT:
        return None
    match = _LIMIT.fullmatch(text)
    if match is None or not (match["days"] or match["second"]):
        raise ValueError("D-HH:MM:SS, HH:MM:SS, MM:SS or UNLIMITED")
    first, second, third = (int(match[name] or 0) for name in ("first", "second", "third"))
    if match["days"]:
        return float(86_400 * int(match["days"]) + 3600 * first + 60 * second + third)
    return float(3600 * first + 60 * second + third if match["third"] else 60 * first + second)


@remembered
def count_of(text: str) -> int:
    """A number of CPUs, nodes or tasks; of "2-4" the smaller one, which is what a waiting job needs at least."""
    match = _COUNT.fullmatch(text)
    if match is None:
        raise ValueError("a number")
    return min(int(match[1]) * UNITS.get(match[2], 1), MOST_COUNT)


@remembered
def gpus_in(text: str) -> int | None:
    """The GPUs in a list of resources; None where it names none.

    `gres/gpu=4,gres/gpu:a100=4` (TRES: the total and its types), `gpu:a100:4`, `gpu` (one), `gres:gpu:4(S:0-1)`,
    `gres/gpu:4`. What else there is of a GPU (gres/gpumem, gres/gpuutil, mps, shard) is not one.
    """
    total, typed, found = 0, 0, False
    for entry in _ENTRIES.findall(text):
        words = re.split("[:=]", re.sub(r"\([^()]*\)", "", entry).strip().removeprefix("gres/").removeprefix("gres:"))
        if words[0] != "gpu":
            continue
        found = True
        count = count_of(words[-1]) if len(words) > 1 and _COUNT.fullmatch(words[-1]) else 1
        if len(words) > 1 and not _COUNT.fullmatch(words[1]):
            typed += count
        else:
            total += count
    return max(total, typed) if found else None


def tasks_in(text: str) -> Tasks:
    """Which tasks of an array wait: "1-9:2,12%4" gives (ranges, 4, True). The number: how many may run at once.

    The last is False where squeue has cut the list off, which it does without SLURM_BITSTR_LEN=0.
    """
    listed, _, at_once = text.partition("%")
    if at_once and not (at_once.isascii() and at_once.isdigit()):
        raise ValueError("tasks such as 1-99%4")
    whole = not listed.endswith("...")
    return list(_ranges(listed.removesuffix("...").rstrip(","))), int(at_once[:9]) if at_once else None, whole


def _ranges(listed: str) -> Iterator[range]:
    for part in listed.split(","):
        match = _TASKS.fullmatch(part)
        if match is None:
            raise ValueError("tasks such as 1-99%4")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or step < 1:
            raise ValueError("tasks such as 1-99%4")
        yield range(first, last + 1, step)
