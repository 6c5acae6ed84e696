"""Learns throughput against power from jobs that report their progress, by user, job name and number of GPUs.

A job says from time to time how many units (steps, frames, samples) it has done. Between two reports it has a rate and
its GPUs a mean power. A span under a cap is compared with the spans without one of the same run, so a span gives a
share of power and a share of throughput. How much more or less such jobs lose than the published curve says is one
factor: the losses found, divided by those of the curve at the same shares. The shape is the curve's.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

import msgspec

from dispatch.forecasting.job_power import NUMBERS
from dispatch.power_caps.throughput import DEFAULT, Curve, Points

LEAST_S, MOST_S = 60.0, 7200.0  # of a span: a shorter one goes on, a longer one says nothing of a cap
COVERED = 0.8  # share of a span for which the power of the GPUs must be known
CAPPED = 0.95  # share of that time for which a cap must hold in a span that counts as capped
SHARES = (0.3, 0.95)  # of power: outside a span says nothing of the curve
ENOUGH = 3  # spans under caps of which something is concluded
KEPT, FREE, MOST_RUNS, MOST_KINDS = 20, 5, 1000, 500  # spans of a kind; spans without a cap of a run
MOST_OF_USER = 200  # runs: nobody keeps the others from reporting
# Least and most of the published curve's losses: a factor of 2.1 leaves 2.6 % of throughput at its first point.
FACTORS = (0.05, 2.1)

Kind = tuple[str, str, int]  # user, job name, GPUs
Run = tuple[str, str, float]  # whatever tells the runs of jobs apart, such as `dispatch.accounting.records.RunKey`


class ProgressState(msgspec.Struct):
    """What is kept over a restart: of each kind of job (user, name, GPUs) the spans under caps."""

    kinds: list[tuple[Kind, list[tuple[float, float]]]] = []


class _Span:
    """A run since its last report that closed a span."""

    def __init__(self, user: str, units: float, mono_s: float) -> None:
        self.user = user
        self.free: deque[tuple[float, float]] = deque(maxlen=FREE)  # units/s and W of spans without a cap
        self.begin(units, mono_s)

    def begin(self, units: float, mono_s: float) -> None:
        self.units, self.since_s = units, mono_s
        self.joules = self.seen_s = self.capped_s = 0.0


class JobProgress:
    """Steps with each look at the nodes."""

    def __init__(self, state: ProgressState | None = None) -> None:
        self._spans: dict[Run, _Span] = {}
        self._points: OrderedDict[Kind, deque[tuple[float, float]]] = OrderedDict()
        for kind, points in (state or ProgressState()).kinds[-MOST_KINDS:]:
            self._points[kind] = deque(points, maxlen=KEPT)
        self._seen_s: float | None = None

    @property
    def runs(self) -> list[Run]:
        """The runs that have reported."""
        return list(self._spans)

    @property
    def known(self) -> bool:
        """Whether anything was learnt."""
        return bool(self._points)

    def state(self) -> ProgressState:
        """What is to be kept over a restart."""
        return ProgressState([(kind, list(points)) for kind, points in self._points.items()])

    def see(self, drawn: Iterable[tuple[Run, float | None, bool]], mono_s: float) -> None:
        """Each run that has reported, the power of its GPUs, W (None: not known), and whether a cap is to hold.

        Runs that are not among them are over.
        """
        passed_s = 0.0 if self._seen_s is None else max(0.0, mono_s - self._seen_s)
        self._seen_s, going = mono_s, set()
        for run, w, capped in drawn:
            going.add(run)
            span = self._spans.get(run)
            if span is not None and w is not None:
                span.joules, span.seen_s = span.joules + w * passed_s, span.seen_s + passed_s
                span.capped_s += passed_s if capped else 0.0
        self._spans = {run: span for run, span in self._spans.items() if run in going}

    def report(self, run: Run, kind: Kind, units: float, mono_s: float) -> bool:
        """A run has done so many units since its start. False: too many runs report."""
        span = self._spans.get(run)
        if span is None:
            of_user = sum(other.user == kind[0] for other in self._spans.values())
            if len(self._spans) >= MOST_RUNS or of_user >= MOST_OF_USER:
                return False
            self._spans[run] = _Span(kind[0], units, mono_s)
            return True
        passed_s = mono_s - span.since_s
        if 0 <= passed_s < LEAST_S and units >= span.units:
            return True
        if units > span.units and passed_s <= MOST_S and span.seen_s >= COVERED * passed_s:
            self._close(span, _kind(kind), (units - span.units) / passed_s)
        span.begin(units, mono_s)
        return True

    def _close(self, span: _Span, kind: Kind, units_per_s: float) -> None:
        w = span.joules / span.seen_s
        if span.capped_s == 0:
            span.free.append((units_per_s, w))
        elif span.capped_s >= CAPPED * span.seen_s and span.free:
            free_per_s, free_w = (sum(values) / len(span.free) for values in zip(*span.free, strict=True))
            share = w / free_w if free_w > 0 else 1.0
            if SHARES[0] <= share <= SHARES[1]:
                points = self._points.setdefault(kind, deque(maxlen=KEPT))
                points.append((share, units_per_s / free_per_s))
                self._points.move_to_end(kind)
                if len(self._points) > MOST_KINDS:
                    self._points.popitem(last=False)

    def spans(self, kind: Kind) -> int:
        """How many spans under caps of such jobs are known."""
        return len(self._points.get(_kind(kind), ()))

    def curve(self, kind: Kind) -> Curve | None:
        """Throughput against power of such jobs; None: too little is known."""
        points = self._points.get(_kind(kind), ())
        if len(points) < ENOUGH:
            return None
        expected = sum(DEFAULT.slowdown(share, 1.0) for share, _ in points)
        factor = min(max(sum(1.0 - held for _, held in points) / expected, FACTORS[0]), FACTORS[1])
        return Curve(_scaled(DEFAULT.points, factor), _scaled(DEFAULT.low, factor), "measured", len(points))


def _scaled(points: Points, factor: float) -> Points:
    return tuple((share, 1.0 - factor * (1.0 - held)) for share, held in points)


def _kind(kind: Kind) -> Kind:
    """Numbers in a name usually count runs, as for the power of jobs."""
    user, name, gpus = kind
    return user, NUMBERS.sub("#", name), gpus
