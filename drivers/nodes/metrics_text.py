"""Reads the few wanted metrics of a page in the Prometheus text format, in one pass of one pattern.

Format: prometheus/docs, content/docs/instrumenting/exposition_formats.md, "Text format details": a line
`name{label="value",...} value [timestamp]`; in a label's value a backslash precedes a backslash, a quote, or n for a
line feed; lines that begin with # are comments. Values are Go's ParseFloat, NaN and Inf among them.

A whole parser costs fifty times as much (`python -m benchmarks.nodes --parser`), and 1000 nodes send 60 MB a scrape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import msgspec

_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(?:,|$)')
_ESCAPE = re.compile(r"\\(.)")
PIECE = 32 * 1024  # characters
_PLAIN = {"n": "\n"}
_QUOTED = r'"(?:[^"\\\n]++|\\.)*+"'
KNOWN_LABELS, LONGEST_KNOWN = 16_384, 512  # texts between braces that are kept with their labels: 1000 nodes of 8 GPUs


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One line. `utc_s`: when it was taken, by the timestamp on the line; None: it has none. Samples share labels."""

    name: str
    labels: dict[str, str]
    value: float
    utc_s: float | None = None


class MetricsPattern:
    """Finds the samples of given metrics in a page."""

    def __init__(self, names: Iterable[str], holding: Mapping[str, str] = {}) -> None:
        """`names`: whole names of metrics. `holding`: of some metrics only lines whose labels hold this text."""
        wanted = sorted(names)
        self.names, self.holding = frozenset(wanted), dict(holding)
        # what was taken is never given back (*+, ++): else a page of spaces would cost time by its length squared
        common = _common_head(wanted)  # as literal text before the choice, by which the search is fast
        held = {name: rf"(?=[^\n]*{re.escape(text)})" for name, text in holding.items()}
        choice = "|".join(re.escape(name[len(common) :]) + held.get(name, "") for name in wanted)
        self._line = re.compile(
            rf"\n[ \t]*+({re.escape(common)}(?:{choice}))(?=[ \t{{])"
            rf"[ \t]*+(?:\{{((?:[^\"}}\n]++|{_QUOTED})*+)\}})?[ \t]*+([^\s{{}}#]++)"
            rf"(?:[ \t]++(-?[0-9]{{1,15}}+))?[ \t]*+(?=\n|\r|$)"
        )

    def samples(self, text: str) -> list[Sample]:
        """Of a page, or a piece of one, in its order. Lines that do not keep to the format are left out."""
        found = []
        for name, labels, value, stamp in self._line.findall("\n" + text):
            number = _number(value)
            parsed = _known_labels(labels) if len(labels) <= LONGEST_KNOWN else labels_of(labels)
            if number is not None and parsed is not None:
                found.append(Sample(name, parsed, number, int(stamp) / 1000 if stamp else None))
        return found


def pieces(text: str) -> Iterator[str]:
    """A page in pieces of whole lines, each read in a few milliseconds; lines longer than a piece are left out."""
    at = 0
    while at < len(text):
        end = text.find("\n", at + PIECE)
        end = len(text) if end < 0 else end
        yield text[at:end] if end - at <= 2 * PIECE else text[at : max(text.rfind("\n", at, at + PIECE), at)]
        at = end + 1


def labels_of(text: str) -> dict[str, str] | None:
    """The labels between a line's braces; None for what keeps not to the format."""
    labels: dict[str, str] = {}
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _LABEL.match(text, at)
        if match is None or match[1] in labels:
            return None
        value = match[2]
        labels[match[1]] = _ESCAPE.sub(_unescaped, value) if "\\" in value else value
        at = match.end()
    return labels


@lru_cache(KNOWN_LABELS)
def _known_labels(text: str) -> dict[str, str] | None:
    """As `labels_of`: the metrics of one device have the same labels, at each reading. Nobody changes them."""
    return labels_of(text)


def _unescaped(match: re.Match[str]) -> str:
    return _PLAIN.get(match[1], match[1])


def _number(text: str) -> float | None:
    """A value as Go writes it; None for what is none. Python alone would take 1_000."""
    try:
        return None if "_" in text or not text.isascii() else float(text)
    except ValueError:
        return None


def _common_head(names: list[str]) -> str:
    if not names:
        return ""
    first, last = names[0], names[-1]  # sorted: what these two share, all share
    end = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:end]
