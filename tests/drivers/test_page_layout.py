"""A page that is laid out as the one before gives the values that the pattern finds in it, or none at all."""

from __future__ import annotations

import metrics_pages
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak_sizes import examples

from drivers.nodes.host_values import host_values
from drivers.nodes.metrics import pattern_of, understood
from drivers.nodes.metrics_text import MetricsPattern, Sample
from drivers.nodes.page_layout import AGAIN, TRIES, LastLayout, PageLayout, Unlike

PATTERN = MetricsPattern(["node_power", "node_cpu"], holding={"node_cpu": 'mode="idle"'})
PAGES = {
    "dcgm-exporter": metrics_pages.dcgm("gpu01", [400.0, 3.5]),
    "node_exporter": metrics_pages.node_exporter("gpu01", cpus=2),
    "nvidia_gpu_exporter": metrics_pages.nvidia_smi([28.07]),
    "": metrics_pages.amd("gpu01", [748.0]),
}
SMALL = (
    b'# HELP node_power W\nnode_power{gpu="0"} 41\nother{a="node_power 5"} 7\nnode_power{gpu="1"} 4.5\n'
    b'node_cpu{cpu="0",mode="idle"} 12\nnode_cpu{cpu="0",mode="user"} 3\nnode_powers 3\nnode_power  8\n'
)
PIECES = [
    b"\n", b" ", b"\t", b"\r", b"#", b"{", b"}", b'"', b"\\", b"1", b"9", b".", b"e", b"-", b"_", b"NaN", b"Inf",
    b"x", b"\xff", b"\xc2\x85", b"node_power", b'node_power{gpu="2"} 6\n', b"node_cpu", b'mode="idle"', b"1_0", b"+",
    b" 1700", b"9" * 40, b"1e999", b'\nnode_power{gpu="0"} 1\n', b"\rmode=\"idle\"",
]  # fmt: skip


def full(page: bytes, pattern: MetricsPattern) -> list[Sample]:
    return pattern.samples(page.decode("utf-8", errors="replace"))


def as_text(samples: list[Sample]) -> list[str]:
    return [str(sample) for sample in samples]  # NaN is not NaN


def agrees(layout: PageLayout, page: bytes, pattern: MetricsPattern) -> bool:
    """Whether it gives values; they are those that the pattern finds."""
    values = layout.values(page)
    if values is None:
        return False
    assert as_text(layout.samples(values)) == as_text(full(page, pattern))
    return True


@st.composite
def changed(draw: st.DrawFn, pages: st.SearchStrategy[bytes]) -> tuple[bytes, bytes]:
    """A page, and the same with bytes put in, taken out, exchanged; with lines exchanged."""
    page = draw(pages)
    mutant = page
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(mutant))), draw(st.sampled_from([0, 0, 1, 2, 9]))
        mutant = mutant[:at] + draw(st.sampled_from([*PIECES, b""])) + mutant[at + size :]
    if draw(st.booleans()):
        lines = mutant.split(b"\n")
        one, two = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        lines[one], lines[two] = lines[two], lines[one]
        mutant = b"\n".join(lines)
    return page, mutant


@pytest.mark.soak
@settings(max_examples=examples(150, 20_000), deadline=None)
@given(changed(st.just(SMALL)))
def test_no_change_of_a_page_makes_it_give_another_value_than_the_pattern(case: tuple[bytes, bytes]) -> None:
    page, mutant = case
    agrees(PageLayout(page, PATTERN, full(page, PATTERN)), mutant, PATTERN)
    try:
        layout = PageLayout(mutant, PATTERN, full(mutant, PATTERN))
    except Unlike:
        return
    agrees(layout, page, PATTERN)
    assert agrees(layout, mutant, PATTERN)


@pytest.mark.soak
@settings(max_examples=examples(40, 5_000), deadline=None)
@given(
    st.sampled_from(sorted(PAGES)).flatmap(
        lambda name: st.tuples(st.just(name), changed(st.just(PAGES[name].encode())))
    )
)
def test_no_change_of_an_exporters_page_does(case: tuple[str, tuple[bytes, bytes]]) -> None:
    exporter, (page, mutant) = case
    pattern = pattern_of(exporter)
    agrees(PageLayout(page, pattern, full(page, pattern)), mutant, pattern)


@pytest.mark.parametrize(
    "line",
    [
        b'node_power{gpu="0"} NaN', b'node_power{gpu="0"} 1_0', b'node_power{gpu="0"} ', b'node_power{gpu="0"} 41 1700',
        b'node_power{gpu="0"} 4 1', b'node_power{gpu="0"} 41\r', b'node_power{gpu="0"} 41\rx',
        b'node_power{gpu="2"} 41',
        b'node_power{gpu="0"}  41', b'node_power{gpu="0",a="b"} 41', b'node_power{gpu="0"} -', b"node_power 41",
        b'node_power{gpu="0"} 41\nnode_power{gpu="7"} 1', b"# node_power", b"", b'node_power{gpu="0"} ' + b"1" * 9000,
    ],
)  # fmt: skip
def test_a_line_that_is_read_in_another_way_is_left_to_the_pattern(line: bytes) -> None:
    layout = PageLayout(SMALL, PATTERN, full(SMALL, PATTERN))
    assert not agrees(layout, SMALL.replace(b'node_power{gpu="0"} 41', line), PATTERN)


@pytest.mark.parametrize("exporter", PAGES)
def test_new_values_of_each_exporter_are_taken_without_the_pattern(exporter: str) -> None:
    page, pattern = PAGES[exporter].encode(), pattern_of(exporter)
    layout = PageLayout(page, pattern, full(page, pattern))
    lines = [line.rpartition(b" ") if line[:1] not in (b"#", b"") else (b"", b"", line) for line in page.split(b"\n")]
    other = b"\n".join(begin + blank + (b"7.25e1" if begin else value) for begin, blank, value in lines)
    assert agrees(layout, other, pattern)
    assert layout.values(other) == [72.5] * len(full(page, pattern))
    assert not agrees(layout, page + b"\n", pattern)
    assert not agrees(layout, page[:-1], pattern)


@pytest.mark.parametrize(
    "page",
    [
        SMALL.replace(b"4.5", b"NaN"), SMALL.replace(b"41", b"41 1700000000000"), SMALL.replace(b"\n", b"\r\n"),
        SMALL + b"no sample\n" * 2 + b"?\n", SMALL + b"\n\n", b'node_power{gpu="0"} 1\n', SMALL + b"node_power four\n",
        SMALL + b'node_power{gpu="0",gpu="1"} 4\n', SMALL + b"x" * 40_000 + b" 1\n", SMALL + b"node_cpu 4\n",
    ],
)  # fmt: skip
def test_of_a_page_that_is_not_plain_no_layout_is_made(page: bytes) -> None:
    with pytest.raises(Unlike):
        PageLayout(page, PATTERN, full(page, PATTERN))


def test_of_pages_that_are_laid_out_anew_each_time_few_layouts_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def counted(page: bytes, pattern: MetricsPattern, samples: list[Sample]) -> PageLayout:
        made.append(page)
        return PageLayout(page, pattern, samples)

    monkeypatch.setattr("drivers.nodes.page_layout.PageLayout", counted)
    last = LastLayout()
    for n in range(2 * AGAIN):
        page = SMALL.replace(b'gpu="1"', b'gpu="x%d"' % n)
        assert last.values(page) is None
        last.learn(page, PATTERN, full(page, PATTERN))
    assert len(made) == TRIES + 2
    assert last.values(made[-1].replace(b"41", b"42")) == [42.0, 4.5, 12.0, 8.0]


VALUES = st.sampled_from([0.0, 1.0, 7.5, 1e9, -1.0, float("inf"), 5.4e11, 2.7e11])


@settings(max_examples=examples(60, 5_000), deadline=None)
@given(st.lists(VALUES, min_size=40, max_size=40), st.booleans())
def test_the_values_of_a_host_mean_what_its_samples_do(values: list[float], meter: bool) -> None:
    page = metrics_pages.node_exporter("gpu01", cpus=2, meter_w=900.0 if meter else None)
    samples = pattern_of("node_exporter").samples(page)
    made = host_values(samples, understood(samples))
    assert (made is None) is meter
    if made is not None:
        now = values[: len(samples)]
        found = made.figures(now)
        expected = understood([Sample(s.name, s.labels, value) for s, value in zip(samples, now, strict=True)])
        assert found is None or found == expected
        assert found is not None or expected != understood(samples)
        assert made.figures([sample.value for sample in samples]) == understood(samples)
