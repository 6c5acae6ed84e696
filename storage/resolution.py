"""Determines how often each signal is sampled, so that a site with thousands of signals fills no disk. No I/O.

The first `FINE` signals have a row each `hot_period_s`, those of the power side before those of compute nodes. The next
`COARSE`, those of GPUs always among them and last, have one each minute and no one-minute roll-ups. What is beyond is
not recorded. A signal that left the site an hour ago takes no more place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

FINE = 400
COARSE = 4000
COARSE_US = 60_000_000
FORGET_S = 3600.0


class Layout(NamedTuple):
    """The signals of a row, in order, and the nominal time between two such rows."""

    step_us: int
    names: tuple[str, ...]


class _Present:
    """The signals of one kind that the site has, or had in the last hour, in order of coming."""

    def __init__(self) -> None:
        self.active: dict[str, bool] = {}  # name -> behind the others
        self._now: tuple[str, ...] = ()
        self._gone: dict[str, float] = {}  # name -> since when it is not among them, monotonic s

    def update(self, names: Iterable[str], behind: Collection[str], mono_s: float) -> bool:
        """Take in which ones there are now; whether `active` has changed."""
        now, changed = tuple(names), False
        if now != self._now:
            self._gone.update((name, mono_s) for name in set(self._now).difference(now))
            self._now = now
            for name in now:
                self._gone.pop(name, None)
                self.active.setdefault(name, name in behind)
            changed = True
        for name in [name for name, since_s in self._gone.items() if mono_s - since_s > FORGET_S]:
            del self._gone[name], self.active[name]
            changed = True
        return changed


class Resolutions:
    """The layouts of rows, as signals come and go."""

    def __init__(self, period_s: float) -> None:
        self._period_us = round(period_s * 1e6)
        self._fast, self._slow = _Present(), _Present()
        self.fine = Layout(self._period_us, ())
        self.coarse = Layout(max(self._period_us, COARSE_US), ())
        self.left_out = 0

    @property
    def all_fine(self) -> bool:
        """Every signal but those of GPUs is sampled as often as the first."""
        return len(self._fast.active) <= FINE

    @property
    def recorded(self) -> set[str]:
        """The signals of both layouts."""
        return {*self.fine.names, *self.coarse.names}

    def update(self, names: Iterable[str], nodes: Collection[str], mono_s: float) -> None:
        """Take in which signals the site has now, with or without a value; `nodes`: those of compute nodes."""
        if self._fast.update(names, nodes, mono_s):
            self._arrange()

    def update_gpus(self, names: Iterable[str], mono_s: float) -> None:
        """Take in which signals of GPUs it has now."""
        if self._slow.update(names, (), mono_s):
            self._arrange()

    def _arrange(self) -> None:
        ordered = sorted(self._fast.active, key=self._fast.active.__getitem__)  # stable: each in order of coming
        coarse = [*ordered[FINE:], *self._slow.active]
        self.fine = self.fine._replace(names=tuple(ordered[:FINE]))
        self.coarse = self.coarse._replace(names=tuple(coarse[:COARSE]))
        self.left_out = max(0, len(coarse) - COARSE)
