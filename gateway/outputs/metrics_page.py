"""Writes the page of metrics in Prometheus' text format.

Format: Prometheus, docs/instrumenting/exposition_formats.md, "Text-based format", version 0.0.4. Names by
docs/practices/naming.md: base units (watts, joules, ratio, seconds), `_total` for counters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import AlarmState
from gateway.api.protocol import Published
from gateway.outputs.figures import OLD_S, QUANTITIES, Figure, figures, left_out, words

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# end of a quantity's name: base unit, and what its value is multiplied by
UNITS = {
    "_eur_per_kwh": ("_euros_per_kilowatt_hour", 1.0),
    "_wh": ("_joules_total", 3600.0),
    "_pct": ("_ratio", 0.01),
    "_hz": ("_hertz", 1.0),
    "_w": ("_watts", 1.0),
    "_v": ("_volts", 1.0),
    "_a": ("_amperes", 1.0),
    "_c": ("_celsius", 1.0),
}
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


def name_of(quantity: str) -> tuple[str, float]:
    """A quantity's name for Prometheus, and the factor to its base unit."""
    suffix, (unit, factor) = next((s, found) for s, found in UNITS.items() if quantity.endswith(s))
    return f"skerry_{quantity.removesuffix(suffix)}{unit}", factor


def page(published: Published, site: str, version: str, tick_age_s: float, most_nodes: int) -> str:
    """The whole page. `tick_age_s`: since the tick that published this; machine time."""
    base = {"site": site}
    lines = [*_family("skerry_info", "gauge", "Version of Skerry.", [({**base, "version": version}, 1.0)])]
    lines += _family(
        "skerry_tick_age_seconds", "gauge", "Time since the last tick of the control loop.", [(base, tick_age_s)]
    )
    if tick_age_s <= OLD_S:
        found = list(figures(published, most_nodes))
        lines += _quantities(found, base)
        lines += _ages(found, base, tick_age_s)
        lines += _states(published, base, most_nodes)
    return "\n".join(lines) + "\n"


def _quantities(found: Iterable[Figure], base: Labels) -> Iterator[str]:
    by_quantity: dict[str, list[Figure]] = {}
    for figure in found:
        by_quantity.setdefault(figure.quantity, []).append(figure)
    for quantity, members in by_quantity.items():
        name, factor = name_of(quantity)
        kind = "counter" if name.endswith("_total") else "gauge"
        yield from _family(
            name, kind, QUANTITIES[quantity], [({**base, **_labels(one)}, one.value * factor) for one in members]
        )


def _ages(found: Iterable[Figure], base: Labels, tick_age_s: float) -> Iterator[str]:
    samples = [
        ({**base, **_labels(one), "reading": one.quantity}, one.age_s + tick_age_s)
        for one in found
        if one.age_s is not None
    ]
    yield from _family("skerry_reading_age_seconds", "gauge", "Age of a reading that is told here.", samples)


def _states(published: Published, base: Labels, most_nodes: int) -> Iterator[str]:
    for word in words(published):
        yield from _family(
            f"skerry_{word.quantity}",
            "gauge",
            f"1 for the {word.quantity.replace('_', ' ')} that holds now, else 0.",
            [({**base, "value": one}, float(one == word.value)) for one in word.words],
        )
    counted: dict[tuple[Priority, AlarmState], int] = {
        (priority, state): 0 for priority in Priority for state in AlarmState if state is not AlarmState.NORMAL
    }
    by_name: dict[str, int] = {}
    for alarm in published.alarms:
        counted[alarm.priority, alarm.state] += 1
        name = alarm.id.partition(":")[0]
        by_name[name] = by_name.get(name, 0) + 1
    yield from _family(
        "skerry_alarms",
        "gauge",
        "Alarms that are listed, by priority and state.",
        [({**base, "priority": p.value, "state": s.value}, float(n)) for (p, s), n in counted.items()],
    )
    yield from _family(
        "skerry_alarm_subjects",
        "gauge",
        "Of an alarm that is listed, how many devices or other subjects have it.",
        [({**base, "alarm": name}, float(n)) for name, n in sorted(by_name.items())],
    )
    loop = published.loop
    for name, kind, text, value in (
        ("skerry_ticks_total", "counter", "Ticks of the control loop since its start.", float(loop.ticks)),
        ("skerry_tick_overruns_total", "counter", "Ticks that were left out.", float(loop.overruns)),
        ("skerry_tick_lateness_p999_seconds", "gauge", "Lateness of 999 of 1000 ticks.", loop.lateness_p999_ms / 1e3),
        (
            "skerry_nodes_left_out",
            "gauge",
            "Compute nodes beyond most_nodes.",
            left_out(published.snapshot, most_nodes),
        ),
    ):
        yield from _family(name, kind, text, [(base, value)])


def _labels(figure: Figure) -> dict[str, str]:
    found = {"device": figure.device} if figure.device else {}
    return {**found, "phase": figure.phase} if figure.phase else found


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Nothing without samples, and none that is no number."""
    finite = [(labels, value) for labels, value in samples if math.isfinite(value)]
    if finite:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
    for labels, value in finite:
        told = ",".join(f'{key}="{text.translate(_ESCAPED)}"' for key, text in labels.items())
        yield f"{name}{{{told}}} {value!r}"
