"""Determines how often each signal is sampled, so that a site with thousands of signals fills no disk. No I/O.

The first `FINE` signals have a row each `hot_period_s`, those of the power side before those of compute nodes. The next
`COARSE` have one each minute and no one-minute roll-ups. What is beyond is not recorded. A signal that left the site an
hour ago takes no more place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

FINE = 400
COARSE = 4000
COARSE_US = 60_000_000
FORGET_S = 3600.0


class Layout(NamedTuple):
    """The signals of a row, in order, and the nominal time between two such rows."""

    step_us: int
    names: tuple[str, ...]


class Resolutions:
    """The layouts of rows, as signals come and go."""

    def __init__(self, period_s: float) -> None:
        self._period_us = round(period_s * 1e6)
        self._now: tuple[str, ...] = ()
        self._active: dict[str, bool] = {}  # name -> a compute node's, in order of coming
        self._gone: dict[str, float] = {}  # name -> since when it is not among the values, monotonic s
        self.fine = Layout(self._period_us, ())
        self.coarse = Layout(max(self._period_us, COARSE_US), ())
        self.left_out = 0

    @property
    def all_fine(self) -> bool:
        """Every signal is sampled as often as the first."""
        return not (self.coarse.names or self.left_out)

    @property
    def recorded(self) -> set[str]:
        """The signals of both layouts."""
        return {*self.fine.names, *self.coarse.names}

    def update(self, values: Mapping[str, float | None], nodes: Collection[str], mono_s: float) -> None:
        """Take in which signals the site has now, with or without a value."""
        now = tuple(values)
        if now != self._now:
            self._gone.update((name, mono_s) for name in set(self._now).difference(values))
            self._now = now
            for name in now:
                self._gone.pop(name, None)
                self._active.setdefault(name, name in nodes)
            self._arrange()
        forgotten = [name for name, since_s in self._gone.items() if mono_s - since_s > FORGET_S]
        if forgotten:
            for name in forgotten:
                del self._gone[name], self._active[name]
            self._arrange()

    def _arrange(self) -> None:
        ordered = sorted(self._active, key=self._active.__getitem__)  # stable: each kind in order of coming
        self.fine = self.fine._replace(names=tuple(ordered[:FINE]))
        self.coarse = self.coarse._replace(names=tuple(ordered[FINE : FINE + COARSE]))
        self.left_out = max(0, len(ordered) - FINE - COARSE)
