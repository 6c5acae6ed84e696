"""Takes the values of a page that has the same lines as the one before, without the pattern: a fifth of the time.

An exporter sends the same metrics with the same labels at each reading. What each line of a page begins with is kept;
a page whose lines begin alike, in the same number and order, has the same samples with other values. Whatever else a
page has, the pattern of `metrics_text.py` reads it whole: `values` then gives None. So no value is ever taken that the
pattern would not give:

- A line that begins with another metric's name, or with #, is no sample whatever follows.
- A line of a wanted metric begins alike up to its value, and its value is a plain number to the end of the line.
- A line of a wanted metric that lacks the text it must hold begins alike up to its value, in which that cannot stand.
- The page has no carriage return, after which a line may say more, and no value as long as a piece of a page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter

from drivers.nodes.metrics_text import PIECE, MetricsPattern, Sample

_NAME = re.compile(rb"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t{]")
_LABELS = re.compile(rb'[ \t]*[a-zA-Z_:][a-zA-Z0-9_:]*[ \t]*\{(?:[^"}\n]++|"(?:[^"\\\n]++|\\.)*+")*+\}[ \t]*+')
_NUMBER = b"0123456789.eE+-"
MOST_VALUES_BYTES = PIECE // 4  # of all values of a page together
SHARED, MOST_SHARED_BYTES = 16_384, 100  # beginnings of lines that many pages have, kept once; none with a UUID
TRIES, AGAIN = 3, 16  # pages that do not fit the one before: after so many only each sixteenth is looked at


class Unlike(Exception):
    """A page of which no layout is made."""


class PageLayout:
    """What the lines of one page began with, and its samples."""

    def __init__(self, page: bytes, pattern: MetricsPattern, samples: Sequence[Sample]) -> None:
        """`samples`: what `pattern` has found in that page. Raises Unlike."""
        lines = page.split(b"\n")
        self._samples = [(sys.intern(sample.name), sample.labels) for sample in samples]  # names are those of all pages
        if any(sample.utc_s is not None for sample in samples):
            raise Unlike("stamped samples")
        self._ends = not lines[-1]
        if self._ends:
            del lines[-1]
        begins = [_beginning(line, pattern) for line in lines]
        self._begins = [_shared(begin) if len(begin) <= MOST_SHARED_BYTES else begin for begin, _ in begins]
        self._begins_bytes = sum(map(len, self._begins))
        wanted = [n for n, (_, is_sample) in enumerate(begins) if is_sample]
        if not 1 < len(wanted) == len(samples):
            raise Unlike("too few samples, or lines that are read in another way")
        self._wanted = itemgetter(*wanted)
        if self.values(page) != [sample.value for sample in samples]:
            raise Unlike("values that are read in another way")

    def values(self, page: bytes) -> list[float] | None:
        """The value of each sample, in order; None: the page is not laid out like that one."""
        lines = page.split(b"\n")
        size = len(page) - len(lines) + 1  # without line feeds
        if self._ends and lines.pop():
            return None
        if len(lines) != len(self._begins) or b"\r" in page:
            return None
        rests = list(map(bytes.removeprefix, lines, self._begins))  # a line that begins otherwise stays as it is
        if len(b"".join(rests)) + self._begins_bytes != size:
            return None
        texts: tuple[bytes, ...] = self._wanted(rests)
        joined = b"".join(texts)
        if len(joined) > MOST_VALUES_BYTES or joined.translate(None, _NUMBER):
            return None
        try:
            return list(map(float, texts))
        except ValueError:  # nor an empty one
            return None

    def samples(self, values: Sequence[float]) -> list[Sample]:
        """The samples of a page with these values."""
        return [Sample(name, labels, value) for (name, labels), value in zip(self._samples, values, strict=True)]


class LastLayout:
    """The layout of a page's last reading, as long as its readings are alike."""

    def __init__(self) -> None:
        self._layout: PageLayout | None = None
        self._unlike = 0  # pages in succession that were not like the one before

    def values(self, page: bytes) -> list[float] | None:
        """The values of a page's samples; None: the pattern has to read it."""
        values = None if self._layout is None else self._layout.values(page)
        if values is not None:
            self._unlike = 0
        return values

    def samples(self, values: Sequence[float]) -> list[Sample]:
        """The samples of a page with these values, of the layout that `values` has found."""
        assert self._layout is not None
        return self._layout.samples(values)

    def learn(self, page: bytes, pattern: MetricsPattern, samples: Sequence[Sample]) -> None:
        """What the pattern has found in a page that was not like the one before."""
        self._unlike += 1
        self._layout = None
        if self._unlike <= TRIES or self._unlike % AGAIN == 0:
            try:
                self._layout = PageLayout(page, pattern, samples)
            except Unlike:
                self._layout = None


def _beginning(line: bytes, pattern: MetricsPattern) -> tuple[bytes, bool]:
    """What decides how a line is read, and whether it is a sample. Raises Unlike."""
    if len(line) > PIECE // 2:
        raise Unlike("long lines")
    if line[:1] == b"#":
        return b"#", False
    named = _NAME.match(line)
    if named is None:
        raise Unlike("lines that are no samples")
    name = named[1].decode("ascii")
    if name not in pattern.names:
        return named[0], False
    labelled = _LABELS.match(line)
    begin = labelled[0] if labelled is not None else named[0] + line[named.end() :][: _blanks(line, named.end())]
    held = pattern.holding.get(name, "").encode()
    if held and b'"' not in held:
        raise Unlike("a text that a value may hold")
    if held in begin:
        return begin, True
    if labelled is None:
        raise Unlike("lines of which it is not known whether they are samples")
    return begin, False


def _blanks(line: bytes, at: int) -> int:
    return len(line) - at - len(line[at:].lstrip(b" \t"))


@lru_cache(SHARED)
def _shared(begin: bytes) -> bytes:
    """The same object for the same beginning: it is kept once."""
    return begin
