"""What other figures say of a reading: the power of the PCS in the last seconds, volts and amperes, the balance."""

from __future__ import annotations

from collections import deque

import msgspec

from dispatch.model.equipment import Meter

VA_SHARE, VA_W = 0.05, 500.0  # P may leave its share of V x I by so much from one sample to the next
MOSTLY = 0.2  # a share that P leaves more often than this is none
OVER_VA = 1.05  # active power above apparent power is impossible; meters of class 1, volts and amperes rounded
BALANCE_SHARE, BALANCE_W = 0.03, 1_000.0  # two meters and the inverters, read within one tick
FAR = 3.0  # so many times the tolerance apart: one of them is wrong
LEARN, CALM = 0.05, 10  # of the balance: how fast its offset is learnt, and after how many samples it is known
APART_S = 10.0  # a balance that has been off for so long, with both meters alive, is another one
# A delay proven at commissioning is not exact, and polling adds to it; beyond the window the law overshoots at once.
MARGIN, MARGIN_S = 0.25, 0.25


class Band(msgspec.Struct, frozen=True):
    """Where a power lies, W."""

    low_w: float
    high_w: float

    @property
    def width_w(self) -> float:
        """How much is unknown."""
        return self.high_w - self.low_w

    def off_w(self, w: float) -> float:
        """By how much `w` lies outside."""
        return max(self.low_w - w, w - self.high_w, 0.0)


class PowerWindow:
    """The power of one source in the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, t_s: float, w: float) -> None:
        """Remember an accepted reading taken at `t_s`."""
        if not self._samples or t_s > self._samples[-1][0] + 1e-6:
            self._samples.append((t_s, w))

    def forget(self, before_s: float) -> None:
        """Keep nothing that did not hold any more at `before_s`."""
        while len(self._samples) > 1 and self._samples[1][0] <= before_s:
            self._samples.popleft()

    def band(self, from_s: float) -> Band | None:
        """Smallest and largest power since `from_s`; the sample before it still held then. None: never read."""
        self.forget(from_s)
        samples = self._samples
        if not samples:
            return None
        powers = [w for _, w in samples]
        return Band(min(powers), max(powers))


class VoltAmperes:
    """Compares the active power P of a meter with its apparent power, the sum of V x I over the phases.

    It learns P's share of V x I. A new P that keeps this share is confirmed. That counts only where the currents have
    changed since the start, and P has left its share in few of the last samples (`MOSTLY`).
    """

    def __init__(self) -> None:
        self._share: float | None = None
        self._off = 0.0  # how often P has left its share, 0..1
        self._amps: list[float | None] | None = None
        self._moved = False

    def of(self, meter: Meter) -> float | None:
        """Apparent power of a meter, VA; None where it does not measure all phases, or currents that stand still."""
        volts, amps = [r.good for r in meter.v], [r.good for r in meter.a]
        self._moved = self._moved or (self._amps is not None and self._amps != amps)
        self._amps = amps
        if not volts or len(volts) != len(amps) or not self._moved:
            return None
        parts = [v * a for v, a in zip(volts, amps, strict=True) if v is not None and a is not None]
        return sum(parts) if len(parts) == len(volts) else None

    def agrees(self, w: float, va: float) -> bool | None:
        """Whether P is the share of V x I that it was before; None where that says nothing."""
        if self._share is None or self._off > MOSTLY:
            return None
        return abs(abs(w) - self._share * va) <= max(VA_W, VA_SHARE * va)

    @staticmethod
    def tells(va: float) -> bool:
        """Whether V x I is large enough to show anything: a meter that starts anew reads 0 of both for a moment."""
        return va > 4 * VA_W

    @staticmethod
    def impossible(w: float, va: float) -> bool:
        """Whether P is larger than V x I allows."""
        return abs(w) > OVER_VA * va + max(2 * VA_W, VA_SHARE * va)

    def learn(self, w: float, va: float, believed: bool) -> None:
        """Take in an accepted power and the product beside it. `believed`: the currents are not doubted."""
        agrees = self.agrees(w, va) if self._off <= MOSTLY else abs(abs(w) - (self._share or 1.0) * va) <= VA_W
        if agrees is not None:
            self._off += LEARN * ((not agrees) - self._off)
        if believed and self.tells(va):
            self._share = min(abs(w) / va, OVER_VA)


class Balance:
    """load - grid - PCS - PV: where it has stood still, it witnesses for each of them."""

    def __init__(self) -> None:
        self._offset_w = 0.0
        self._spread_w = 0.0
        self._seen = 0
        self._apart_s: float | None = None  # since when it has been off

    def tolerance_w(self, load_w: float) -> float:
        """What it may move without anybody being wrong."""
        return max(BALANCE_W, BALANCE_SHARE * abs(load_w))

    def known(self, load_w: float) -> bool:
        """Whether it has closed long enough to speak. A load meter of a part of the site never gets there."""
        return self._seen >= CALM and self._spread_w <= self.tolerance_w(load_w)

    def off_w(self, residual: Band) -> float:
        """By how much the residual lies from where it was."""
        return residual.off_w(self._offset_w)

    def learn(self, residual: Band, load_w: float, mono_s: float) -> None:
        """Take in a residual of accepted readings while nothing moves and both meters are alive.

        One that is off is none of losses: only after APART_S is it taken for what the balance is now.
        """
        if residual.width_w > self.tolerance_w(load_w):
            return
        if not self.known(load_w) or self.off_w(residual) <= self.tolerance_w(load_w):
            self._apart_s = None
        elif self._apart_s is None or mono_s - self._apart_s < APART_S:
            self._apart_s = mono_s if self._apart_s is None else self._apart_s
            return
        else:
            self._seen, self._spread_w, self._apart_s = 0, 0.0, None
        middle_w = (residual.low_w + residual.high_w) / 2
        if not self._seen:
            self._offset_w = middle_w
        self._seen += 1
        self._spread_w += LEARN * (abs(middle_w - self._offset_w) - self._spread_w)
        self._offset_w += LEARN * (middle_w - self._offset_w)


def window_s(delay_max_s: float) -> float:
    """How far back a meter's reading may show the site."""
    return (1 + MARGIN) * delay_max_s + MARGIN_S
