"""The pattern finds in a page what a whole parser of the format finds there."""

from __future__ import annotations

import math
import time

import metrics_pages
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from soak_sizes import examples

from drivers.nodes.metrics import NODE_EXPORTER, pattern_of
from drivers.nodes.metrics_text import LONGEST_KNOWN, MetricsPattern, Sample, labels_of

NAMES = ("node_power", "node_power_total", "DCGM_USE")
PATTERN = MetricsPattern(NAMES)
Labels = tuple[tuple[str, str], ...]


def judged(page: str) -> list[tuple[str, Labels, float, float | None]]:
    """What prometheus_client finds of the wanted metrics."""
    found = []
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in NAMES:
                stamp = None if sample.timestamp is None else float(sample.timestamp)
                found.append((sample.name, tuple(sorted(sample.labels.items())), float(sample.value), stamp))
    return sorted(found, key=str)


def ours(samples: list[Sample]) -> list[tuple[str, Labels, float, float | None]]:
    return sorted(((s.name, tuple(sorted(s.labels.items())), s.value, s.utc_s) for s in samples), key=str)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(lambda v: repr(v).replace("inf", "Inf").replace("nan", "NaN")),
    st.sampled_from(["0", "1e3", "+Inf", "-Inf", "NaN", "12", "-4.5E-2"]),
)
label_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)
label_sets = st.dictionaries(st.sampled_from(["gpu", "UUID", "mode", "path"]), label_text, max_size=3)


@st.composite
def lines(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from([*NAMES, "node_powers", "other_node_power", "node"]))
    labels = draw(label_sets)
    inner = ",".join(f'{key}="{escaped(value)}"' for key, value in labels.items())
    braces = f"{{{inner}{draw(st.sampled_from(['', ','])) if inner else ''}}}" if inner or draw(st.booleans()) else ""
    stamp = draw(st.one_of(st.just(""), st.integers(0, 2 * 10**12).map(lambda ms: f" {ms}")))
    return f"{name}{braces} {draw(values)}{stamp}"


comments = st.sampled_from(["# HELP node_power Watts.", "# TYPE node_power gauge", "# node_power 4", ""])


@pytest.mark.soak
@settings(max_examples=examples(40, 100), deadline=None)
@given(st.lists(st.one_of(lines(), comments), max_size=12), st.booleans())
def test_it_finds_what_a_whole_parser_finds(page: list[str], ends: bool) -> None:
    text = "\n".join(page) + ("\n" if ends else "")
    assert [str(s) for s in ours(PATTERN.samples(text))] == [str(s) for s in judged(text)]  # as text: NaN is not NaN


def test_pages_of_exporters_are_read_alike() -> None:
    page = metrics_pages.dcgm("gpu01", [400.5] * 8) + metrics_pages.node_exporter("gpu01")
    wanted = set(NODE_EXPORTER) | {"DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_UTIL"}
    found = MetricsPattern(wanted).samples(page)
    judge = [s for family in text_string_to_metric_families(page) for s in family.samples if s.name in wanted]
    assert sorted((s.name, str(sorted(s.labels.items())), s.value) for s in found) == sorted(
        (s.name, str(sorted(s.labels.items())), s.value) for s in judge
    )
    assert len(found) > 25


@pytest.mark.parametrize(
    "line",
    [
        "node_power{",
        'node_power{gpu="0" 4',
        'node_power{gpu="0"} ',
        "node_power",
        "node_power{gpu=0} 4",
        'node_power{gpu="0",gpu="1"} 4',
        "node_power 1_000",
        "node_power four",
        "node_power ١٢",
        'node_power{gpu="a\\"} 4',
        "<html><body>node_power 4</body>",
    ],
)
def test_what_does_not_keep_to_the_format_is_left_out(line: str) -> None:
    assert PATTERN.samples(f"{line}\nDCGM_USE 1\n") == [Sample("DCGM_USE", {}, 1.0)]


def test_line_ends_of_other_systems_and_a_stamp_before_1970() -> None:
    assert PATTERN.samples('node_power{a="b"} 4 -1500\r\nDCGM_USE 2\r\n') == [
        Sample("node_power", {"a": "b"}, 4.0, -1.5),
        Sample("DCGM_USE", {}, 2.0),
    ]


def test_labels_are_unescaped_and_lines_without_what_is_held_are_skipped() -> None:
    assert labels_of('a="x\\n\\"\\\\y", b="" ,') == {"a": 'x\n"\\y', "b": ""}
    pattern = MetricsPattern(["node_cpu_seconds_total"], holding={"node_cpu_seconds_total": 'mode="idle"'})
    page = metrics_pages.node_exporter("n", cpus=3)
    assert [s.labels["mode"] for s in pattern.samples(page)] == ["idle"] * 3


def test_labels_are_taken_apart_once_and_long_ones_are_not_kept() -> None:
    short, long = 'node_power{a="once"} 1\n', f'node_power{{a="{"x" * LONGEST_KNOWN}"}} 1\n'
    (first,), (again,) = PATTERN.samples(short), PATTERN.samples(short)
    assert first.labels is again.labels
    (first,), (again,) = PATTERN.samples(long), PATTERN.samples(long)
    assert first.labels == again.labels
    assert first.labels is not again.labels


def test_a_page_made_to_be_slow_is_not_slow() -> None:
    """No input costs more than a plain page of its length, some times over."""
    plain = metrics_pages.dcgm("gpu01", [400.5] * 8) * 5
    size = len(plain)

    def cost_s(text: str) -> float:
        best = math.inf
        for _ in range(2):
            began_s = time.thread_time()
            pattern_of("dcgm-exporter").samples(text)
            best = min(best, time.thread_time() - began_s)
        return best

    head = "DCGM_FI_DEV_POWER_USAGE{"
    for hostile in (
        '"' * size,
        "{" * size,
        head + 'a="' + "\\" * size,
        (head + "\n") * (size // len(head)),
        "\n" * size,
    ):
        assert cost_s(hostile) < 20 * cost_s(plain) + 0.05
