"""Lines that are folded to a width: at blanks, aligned, no figure without its unit, nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.display.wrapping import columns, cut_name, folded

LONG = "Why       discharge 12.3 kW: the plan keeps the import below the month's peak of 31.4 kW until 17:15 CEST"


@pytest.mark.parametrize("width", range(20, 110))
def test_a_row_is_folded_below_its_label_and_keeps_figures_with_their_units(width: int) -> None:
    first, *others = folded(LONG, width, 10)
    assert all(columns(line) <= width for line in (first, *others))
    assert all(line.startswith(" " * 10) and line[10] != " " for line in others)
    assert " ".join([first, *(line[10:] for line in others)]) == LONG
    assert not any(line.endswith(("12.3", "31.4")) for line in (first, *others))


def test_a_line_that_fits_and_a_word_that_never_does_stay_as_they_are() -> None:
    assert list(folded("Grid       1.2 kW import      · fuse 110.4 kW", 80, 10)) == [
        "Grid       1.2 kW import      · fuse 110.4 kW"
    ]
    assert list(folded("Why       " + "x" * 90, 80, 10)) == ["Why       " + "x" * 90]
    assert list(folded("計算 センター 北海道", 10, 0)) == ["計算", "センター", "北海道"]


@given(st.text(st.sampled_from("ab 19.,kW計"), max_size=80), st.integers(1, 40), st.integers(0, 12))
def test_no_word_is_lost(text: str, width: int, indent: int) -> None:
    lines = list(folded(text, width, indent))
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert " ".join(lines).replace("計", " 計 ").split() == text.replace("計", " 計 ").split()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gpu01", "gpu01"),
        ("gke-prod-gpu-pool-2a8f3b1c-x7kd", "gke-pr…c-x7kd"),
        ("gke-prod-gpu-pool-2a8f3b1c-9qqz", "gke-pr…c-9qqz"),
        ("ip-10-0-2-34.eu-central-1.compute.internal", "ip-10-0-2-34…"),
        ("ip-10-0-12-34.eu-central-1.compute.internal", "ip-10-…-12-34"),
        ("192.168.112.34", "192.16…112.34"),
    ],
)
def test_a_name_that_is_cut_keeps_what_tells_it_from_others(name: str, shown: str) -> None:
    assert (cut_name(name, 13), len(shown) <= 13) == (shown, True)
