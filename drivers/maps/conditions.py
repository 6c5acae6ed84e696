"""Parses the condition of a recipe's step: TERM OP TERM, joined by "and". A term is a name or a number."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import NamedTuple

OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
COMPARISON = re.compile(r"^\s*([\w.+-]+)\s*(<=|>=|==|<|>)\s*([\w.+-]+)\s*$")
NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{1,12})?")


class BadCondition(ValueError):
    """A condition that cannot be read; the text is what was expected."""


class Comparison(NamedTuple):
    """Two sides, each the name of a term or a number."""

    left: str | float
    op: str
    right: str | float

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that it needs."""
        return tuple(side for side in (self.left, self.right) if isinstance(side, str))


def parse(text: str) -> tuple[Comparison, ...]:
    """The comparisons, all of which must hold; none for an empty text. Raises BadCondition."""
    if not text.strip():
        return ()
    return tuple(_comparison(part) for part in re.split(r"\s+and\s+", text.strip()))


def holds(comparisons: tuple[Comparison, ...], terms: Mapping[str, float]) -> bool:
    """Whether all hold. Raises KeyError for a term that is not there."""
    return all(OPERATORS[one.op](_number(one.left, terms), _number(one.right, terms)) for one in comparisons)


def _comparison(text: str) -> Comparison:
    match = COMPARISON.match(text)
    if match is None:
        raise BadCondition("TERM < TERM (or <= > >= ==), several joined by and")
    return Comparison(_side(match[1]), match[2], _side(match[3]))


def _side(text: str) -> str | float:
    if NUMBER.fullmatch(text):
        return float(text)
    if not text.isidentifier():
        raise BadCondition("names of terms and numbers")
    return text


def _number(side: str | float, terms: Mapping[str, float]) -> float:
    return terms[side] if isinstance(side, str) else side
