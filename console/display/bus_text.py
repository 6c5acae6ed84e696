"""Words for the bus at the grid meter: its phases, and blocks for its frequency over the last minutes. Pure."""

from __future__ import annotations

from console.display.formats import ABSENT, duration
from console.display.language import say
from console.display.viewmodel import TREND_STEP_S, Model, series
from dispatch.model.equipment import Meter
from dispatch.model.readings import Quality, Reading

BLOCKS = "▁▂▃▄▅▆▇█"
MOST_STEPS = 120  # half an hour
FIGURES = 34  # columns of the figures beside the blocks
LEAST_SPAN_HZ = 0.02  # of the blocks' scale: less is within what a meter resolves


def phases_text(meter: Meter, columns: int) -> str:
    """ "L1 230.4 V 45.2 A 10.4 kW · L2 …", without the powers where there is no room; empty where it gives none."""
    count = max(len(meter.v), len(meter.a), len(meter.w_phases))
    texts = [" · ".join(f"L{n + 1}{_phase(meter, n, w)}" for n in range(count)) for w in (True, False)]
    return texts[0] if len(texts[0]) <= columns or not (meter.v or meter.a) else texts[1]


def _phase(meter: Meter, n: int, with_power: bool) -> str:
    powers = ((meter.w_phases, 1000.0, "kW"),) if with_power else ()
    parts = ((meter.v, 1.0, "V"), (meter.a, 1.0, "A"), *powers)
    return "".join(f" {_figure(values[n], scale)} {unit}" for values, scale, unit in parts if n < len(values))


def _figure(reading: Reading, scale: float) -> str:
    """A value, marked where it is not of now."""
    if reading.value is None:
        return ABSENT
    mark = "" if reading.quality is Quality.GOOD else f"({reading.quality.value}) "
    return f"{mark}{reading.value / scale:.1f}"


def frequency_text(model: Model, columns: int) -> str:
    """The means of each 15 s of the last half hour as blocks, lowest and highest of them; empty where none is known."""
    if model.now_utc_s is None:
        return ""
    end_s = int(model.now_utc_s // TREND_STEP_S) * TREND_STEP_S
    steps = max(1, min(MOST_STEPS, columns - FIGURES))
    values = series(model.trend, "hz", end_s, steps, TREND_STEP_S)
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    middle = (low + high) / 2
    span = max(high - low, LEAST_SPAN_HZ)
    drawn = "".join(" " if v is None else _block((v - middle) / span + 0.5) for v in values)
    first = next(n for n, value in enumerate(values) if value is not None)
    covered = duration((steps - first) * TREND_STEP_S)
    return f"{drawn} {say('devices.hz_span', low=f'{low:.2f}', high=f'{high:.2f}', span=covered)}"


def _block(share: float) -> str:
    return BLOCKS[max(0, min(7, int(share * 8)))]
