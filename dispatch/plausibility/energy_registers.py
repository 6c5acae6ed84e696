"""Compares each meter's power, added up, with what its own energy registers count over the same minutes.

A meter whose power is forged on its way, or scaled wrongly, shows in its registers. Both forged alike do not; the
balance with the load meter may tell then (alarm `meters-disagree`). A window ends, and the next one begins, when a
register moves: many meters count anew once in a minute or in a quarter of an hour, and are right at that moment only.
"""

from __future__ import annotations

from dispatch.model.decision import EnergyApart
from dispatch.model.equipment import Meter

WINDOW_S = 300.0
LONGEST_S = 1000.0  # for a register that does not move: more than a quarter of an hour
GAP_S = 3.0  # without a reading for longer, what was drawn meanwhile is not known
LEAST_WH, SHARE = 150.0, 0.10  # apart: coarse registers, samples between which the power moves, meters of class 1
WINDOWS = 2  # in a row
COARSEST_WH = 1000.0  # of a register


class _Resolution:
    """The smallest step by which a register was seen to move, Wh; one that has not moved yet may be this coarse."""

    def __init__(self, net_wh: float) -> None:
        self._last_wh, self.step_wh = net_wh, COARSEST_WH

    def add(self, net_wh: float) -> bool:
        """Whether it moved."""
        moved_wh, self._last_wh = abs(net_wh - self._last_wh), net_wh
        if moved_wh:
            self.step_wh = min(self.step_wh, moved_wh)
        return moved_wh > 0


class _Window:
    def __init__(self, mono_s: float, w: float, register_wh: float) -> None:
        self.began_s = self.last_s = mono_s
        self.last_w, self.register_wh = w, register_wh
        self.counted_wh = self.moved_wh = 0.0  # net, and without sign

    def add(self, mono_s: float, w: float) -> None:
        wh = (w + self.last_w) / 2 * (mono_s - self.last_s) / 3600
        self.counted_wh, self.moved_wh = self.counted_wh + wh, self.moved_wh + abs(wh)
        self.last_s, self.last_w = mono_s, w


class EnergyRegisters:
    """Fed once per tick with the meters as read."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._resolution: dict[str, _Resolution] = {}
        self._apart: dict[str, tuple[int, EnergyApart]] = {}  # windows in a row that were apart, and the last of them

    def update(self, mono_s: float, meters: tuple[Meter, ...]) -> None:
        """Take the meters in; what is missing or doubted begins the window anew."""
        for meter in meters:
            w, import_wh, export_wh = meter.w.confirmed, meter.import_wh.confirmed, meter.export_wh.confirmed
            window = self._windows.get(meter.id)
            if w is None or import_wh is None or export_wh is None:
                continue  # one sample: the gap tells whether it matters
            net_wh = import_wh - export_wh
            moved = self._resolution.setdefault(meter.id, _Resolution(net_wh)).add(net_wh)
            if window is None or not 0 <= mono_s - window.last_s <= GAP_S:
                self._windows[meter.id] = _Window(mono_s, w, net_wh)
                continue
            window.add(mono_s, w)
            if mono_s - window.began_s >= (WINDOW_S if moved else LONGEST_S):
                self._judge(meter.id, window, net_wh)
                self._windows[meter.id] = _Window(mono_s, w, net_wh)

    def _judge(self, name: str, window: _Window, net_wh: float) -> None:
        shown_wh = net_wh - window.register_wh
        allowed_wh = max(LEAST_WH, SHARE * window.moved_wh) + 2 * self._resolution[name].step_wh
        apart = abs(shown_wh - window.counted_wh) > allowed_wh
        if not apart:
            self._apart.pop(name, None)
            return
        found = EnergyApart(name, window.counted_wh, shown_wh, window.last_s - window.began_s)
        self._apart[name] = self._apart.get(name, (0, found))[0] + 1, found

    @property
    def found(self) -> tuple[EnergyApart, ...]:
        """The meters whose registers have not fitted their power for `WINDOWS` windows in a row."""
        return tuple(found for windows, found in self._apart.values() if windows >= WINDOWS)
