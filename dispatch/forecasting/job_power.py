"""Learns how much power jobs draw above idle, by user, job name and number of GPUs, and how far jobs of a kind differ.

Jobs of one user and name draw nearly the same again and again: published predictors from what is known at submission,
user and name first, are off by 10 to 12 % (Saillant, Weill, Mougeot, "Predicting Job Power Consumption Based on RJMS
Submission Data in HPC Systems", 2020, doi 10.1007/978-3-030-50743-5_4; Antici et al., "UoPC", 2025, doi
10.23919/ISC.2025.11017729). What few jobs say is drawn towards what is known of more: (user, name, GPUs), then
(user, GPUs), (GPUs), all jobs with GPUs, and last a default from the GPUs' limit. Figures are per GPU; of a job without
GPUs they are the whole job's.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Literal

import msgspec

SHARES = (0.1, 0.5, 0.9)  # the quantiles that are kept: the middle, and four of five jobs between the outer two
# How many jobs of a kind weigh as much as all that is known of the next wider kind. By credibility theory (Buehlmann
# 1967) it is the variance within a kind divided by that between kinds. Within: about 10 % (above). Between: a factor
# of two or more. That would be below 1; the first runs under a name are often trials, so two must agree.
WIDER_WEIGHS = 2.0
# Of a name only so many jobs are kept, so that an array of a thousand tasks does not speak for everybody's jobs, and a
# program that has changed is known anew after as many runs.
KEPT_OF_NAME = 20
KEPT_NAMES = 2000
KEPT_ESTIMATES = 20_000  # four times the jobs of a large queue
# Above idle, of what the GPU may draw at most. Busy A100 of the Acme clusters with a limit of 400 W, their hosts' share
# included (factor 1.2): 10 % of them below 0.25, half below 0.75, 90 % below 1 (quantiles of 2023, CC BY 4.0).
DEFAULT_SHARES = (0.25, 0.75, 1.0)
DEFAULT_LIMIT_W = 400.0  # an A100's, where no GPU of the site tells its limit
NUMBERS = re.compile(r"\d+")

Basis = Literal["name", "user", "gpus", "site", "default"]
_Key = tuple[str | int, ...]


class PowerEstimate(msgspec.Struct, frozen=True):
    """Power of one job above idle, W: 10 %, 50 % and 90 % quantiles of such jobs; how many were measured, and of what.

    `basis`: the narrowest kind of which one was measured; `jobs` counts those.
    """

    low_w: float
    w: float
    high_w: float
    jobs: int
    basis: Basis


class JobPower:
    """Learns from finished jobs; bounded in what it keeps. Used by one thread at a time."""

    def __init__(self) -> None:
        self._of_name: OrderedDict[_Key, deque[float]] = OrderedDict()  # newest name last; values in order
        self._sorted: dict[_Key, list[float]] = {}  # by kind, the wider ones too
        self._known: dict[tuple[str, str, int], PowerEstimate] = {}  # worked out since something was learnt
        self._limit_w = DEFAULT_LIMIT_W

    def limit_gpus_to(self, limit_w: float) -> None:
        """What a GPU of this site may draw at most, W, for the default."""
        if limit_w > 0 and limit_w != self._limit_w:
            self._limit_w = limit_w
            self._known.clear()

    def learn(self, user: str, name: str, gpus: int, above_idle_w: float) -> None:
        """Take in the mean power of one finished job above idle, W; a negative one counts as 0."""
        each_w = max(0.0, above_idle_w) / max(1, gpus)
        key = _narrowest(user, name, gpus)
        seen = self._of_name.setdefault(key, deque())
        self._of_name.move_to_end(key)
        if len(seen) == KEPT_OF_NAME:
            self._forget(key, seen.popleft())
        seen.append(each_w)
        for kind in _kinds(key):
            insort(self._sorted.setdefault(kind, []), each_w)
        if len(self._of_name) > KEPT_NAMES:
            oldest, values = self._of_name.popitem(last=False)
            for value in values:
                self._forget(oldest, value)
        self._known.clear()

    def estimate(self, user: str, name: str, gpus: int) -> PowerEstimate:
        """What such a job is expected to draw above idle."""
        asked = user, name, gpus
        found = self._known.get(asked)
        if found is None:
            if len(self._known) >= KEPT_ESTIMATES:
                self._known.clear()
            found = self._known[asked] = self._work_out(_narrowest(*asked), gpus)
        return found

    def _work_out(self, key: _Key, gpus: int) -> PowerEstimate:
        """From the widest kind to the narrowest, each by as much as it has jobs."""
        each_w = [share * self._limit_w if gpus else 0.0 for share in DEFAULT_SHARES]
        jobs = 0
        basis: Basis = "default"
        kinds = _kinds(key)
        for kind, named in zip(reversed(kinds), _BASES, strict=True):
            values = self._sorted.get(kind)
            if values:
                jobs, basis, n = len(values), named, len(values)
                own_w = [_quantile(values, share) for share in SHARES]
                each_w = [
                    (n * own + WIDER_WEIGHS * w) / (n + WIDER_WEIGHS) for own, w in zip(own_w, each_w, strict=True)
                ]
        low_w, middle_w, high_w = (w * max(1, gpus) for w in each_w)
        return PowerEstimate(low_w, middle_w, high_w, jobs, basis)

    def _forget(self, key: _Key, value: float) -> None:
        for kind in _kinds(key):
            values = self._sorted[kind]
            del values[bisect_left(values, value)]
            if not values:
                del self._sorted[kind]


_BASES: tuple[Basis, ...] = ("site", "gpus", "user", "name")  # widest first


def _narrowest(user: str, name: str, gpus: int) -> _Key:
    """Numbers in a name usually count runs: run-17 and run-18 are jobs of one name."""
    return (gpus, user, NUMBERS.sub("#", name))


def _kinds(key: _Key) -> tuple[_Key, _Key, _Key, _Key]:
    """The narrowest first. Jobs without GPUs are no measure of those with them."""
    return key, key[:2], key[:1], (("with GPUs",) if key[0] else ("without GPUs",))


def _quantile(values: Sequence[float], share: float) -> float:
    """Between the two nearest of sorted values."""
    at = share * (len(values) - 1)
    below = int(at)
    above = min(below + 1, len(values) - 1)
    return values[below] + (at - below) * (values[above] - values[below])
