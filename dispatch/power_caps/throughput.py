"""Tells how much slower GPUs compute under a power cap: throughput against power, as shares of what is had without one.

The curve that holds where nothing else is known comes from the power traces of Zeus (You, Chung, Chowdhury, "Zeus",
NSDI 2023; github.com/ml-energy/zeus at 75a8b939, examples/research_reproducibility/zeus_nsdi23/trace/
summary_power_{v100,a40,rtx6000}.csv, Apache-2.0): time of an epoch and mean power at each power limit from 100 W to the
board's own. Taken are the 65 trainings (ResNet-50, BERT, DeepSpeech2, ShuffleNet v2) that draw at least 75 % of the
board's limit without a cap, 25 on V100, 18 on A40, 22 on Quadro RTX 6000. Of each GPU model the median, and the
quantiles at 10 and 90 %, of throughput at a share of the uncapped mean power; then the mean over the three models.
Below half of that power the models differ too much (0.46 to 0.68 of the throughput at half the power), so the curve
ends there. No such table was found of A100 or H100: what a site has measured itself goes before this curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import msgspec

Points = tuple[tuple[float, float], ...]  # (share of power, share of throughput)
Basis = Literal["measured", "site", "curve"]  # by what jobs report; by the site file; the published one

# What a GPU draws on average of a limit that holds it: 0.945 in the same trainings at limits from 50 to 90 % of their
# uncapped mean power (239 of them; 0.86 to 0.99 in eight of ten).
AT_LIMIT = 0.95
CONCAVE = 1e-6  # by how much rounded figures may bend the other way


class Curve(msgspec.Struct, frozen=True):
    """Throughput against power of one GPU. Both are shares of what it has without a cap; 1 is the last of `points`.

    `low`: the same for the tenth of jobs that lose most; empty: as `points`. Concave: each W less costs more.
    `basis`: how it is known; `jobs`: of how many jobs.
    """

    points: Points
    low: Points = ()
    basis: Basis = "site"
    jobs: int = 0

    def under_limit(self, limit_w: float, uncapped_w: float) -> float:
        """The share of throughput, 0 to 1, that a GPU loses under a limit, if it would draw `uncapped_w` without.

        A limit at or above what it would draw costs nothing.
        """
        return 0.0 if limit_w >= uncapped_w else self.slowdown(AT_LIMIT * limit_w, uncapped_w)

    def slowdown(self, drawn_w: float, uncapped_w: float, careful: bool = False) -> float:
        """The share of throughput, 0 to 1, that a GPU loses that draws `drawn_w` and would draw `uncapped_w`.

        Below the first point throughput is taken as falling with power to nothing, which is the least that is lost: an
        idle GPU draws power, too. `careful`: by `low`.
        """
        if drawn_w >= uncapped_w or uncapped_w <= 0:
            return 0.0
        return 1.0 - _at((self.low if careful else ()) or self.points, max(drawn_w, 0.0) / uncapped_w)

    def lowest_share(self, tolerated: float) -> float:
        """The least share of its power that a GPU must draw, if it may lose `tolerated` of its work, 0 to 1.

        By `low`, so that nine jobs of ten lose no more; never below the first point, where nothing is known.
        """
        if tolerated <= 0:
            return 1.0
        points, wanted = self.low or self.points, 1.0 - tolerated
        if wanted <= points[0][1]:
            return points[0][0]
        for (share, held), (next_share, next_held) in pairwise(points):
            if wanted <= next_held:
                return share + (next_share - share) * (wanted - held) / (next_held - held)
        return 1.0


DEFAULT = Curve(
    points=((0.5, 0.600), (0.6, 0.780), (0.7, 0.890), (0.8, 0.947), (0.9, 0.979), (1.0, 1.0)),
    low=((0.5, 0.536), (0.6, 0.701), (0.7, 0.851), (0.8, 0.921), (0.9, 0.961), (1.0, 1.0)),
    basis="curve",
    jobs=65,
)


def stated(own: Points, common: Points) -> Curve:
    """The curve of a node: its own, else the site's, else the published one."""
    points = own or common
    return Curve(points) if points else DEFAULT


def fault(points: Sequence[tuple[float, float]]) -> str:
    """What is wrong with the points of a curve; empty: nothing. They rise, bend one way, and end at (1, 1)."""
    if len(points) < 2:
        return "at least two points are needed, each [share of power, share of throughput]"
    if points[-1] != (1.0, 1.0):
        return "the last point must be [1.0, 1.0]: without a cap it is all of the power and all of the throughput"
    if not all(0 < share <= 1 and 0 <= held <= 1 for share, held in points):
        return "shares of power lie above 0 and up to 1, those of throughput between 0 and 1"
    if not all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(points)):
        return "both shares must rise from point to point"
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(((0.0, 0.0), *points))][1:]
    if not all(later <= slope + CONCAVE for slope, later in pairwise(slopes)):
        return "throughput must fall faster the less power there is: leave out points that bend the other way"
    return ""


def _at(points: Points, share: float) -> float:
    """Between the two nearest points, below the first on the line to nothing."""
    before = (0.0, 0.0)
    for point in points:
        if share <= point[0]:
            return before[1] + (point[1] - before[1]) * (share - before[0]) / (point[0] - before[0])
        before = point
    return 1.0
