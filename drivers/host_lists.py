"""Takes lists of host names apart as Slurm and other tools of clusters write them: "gpu[001-064,070],login1"."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

MOST_NAMES = 1000
_COMMA = re.compile(r",(?![^\[\]]*\])")  # outside of brackets
_PARTS = re.compile(r"([^\[\]]*)(?:\[([0-9,-]+)\])?")


class BadNames(ValueError):
    """A list of names that cannot be used; `str()` says what was expected."""


def names_in_lists(text: str) -> list[str]:
    """Every name in lists that are separated by commas, such as "gpu[001-003],login1". Raises BadNames."""
    names = [name for each in _COMMA.split(text) for name in names_in(each)]
    if len(names) > MOST_NAMES:
        raise BadNames(f"at most {MOST_NAMES} names; {text[:60]!r} has more")
    return names


def names_in(text: str) -> list[str]:
    """Every name in one list, such as "gpu[001-003,007]" or "rack[1-2]n[1-4]". Raises BadNames."""
    choices: list[list[str]] = []
    at = 0
    while at < len(text):
        match = _PARTS.match(text, at)
        if match is None or match.end() == at:
            raise BadNames(f"a name, or a list such as gpu[001-064,070]; {text[:60]!r} is none")
        head, ranges = match.groups()
        numbers = [""] if ranges is None else _all_numbers(ranges, text)
        choices.append([head + number for number in numbers])
        at = match.end()
    names = ["".join(parts) for parts in itertools.islice(itertools.product(*choices), MOST_NAMES + 1)]
    if len(names) > MOST_NAMES:
        raise BadNames(f"at most {MOST_NAMES} names; {text[:60]!r} has more")
    return names


def names_by_line(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | BadNames]]:
    """What a file of names has in each line, names or lists as for `names_in`, with the line's number from 1.

    # begins a comment; lines without names are left out. Where a line cannot be used: the error.
    """
    for number, line in enumerate(lines, start=1):
        if bare := line.partition("#")[0].strip():
            try:
                yield number, names_in(bare)
            except BadNames as error:
                yield number, error


def _all_numbers(ranges: str, text: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        numbers += _numbers(part, text)
        if len(numbers) > MOST_NAMES:
            raise BadNames(f"at most {MOST_NAMES} names; {text[:60]!r} has more")
    return numbers


def _numbers(part: str, text: str) -> list[str]:
    """ "001-003" as 001, 002, 003: with as many digits as the first has."""
    first, dash, last = part.partition("-")
    last = last if dash else first
    if not (first.isdigit() and last.isdigit()) or int(last) < int(first) or int(last) - int(first) > MOST_NAMES:
        raise BadNames(f"ranges such as 001-064, at most {MOST_NAMES} names; {part[:20]!r} in {text[:60]!r} is none")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
