"""Decodes what all objects of Kubernetes have, and its times and quantities.

Only fields that are used are named; others are not looked at. A list or map that is empty may be left out or null.
Sources: API conventions, github.com/kubernetes/community, contributors/devel/sig-architecture/api-conventions.md;
quantities: k8s.io/apimachinery, pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

import msgspec

LATEST_S = 10_000_000_000  # the year 2286
MOST_AMOUNT = 10_000_000.0
_QUANTITY = re.compile(r"\+?(\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?")
_FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_FACTORS |= {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", start=1)}

Quantity = str | int | float
Quantities = dict[str, Quantity]


class OwnerReference(msgspec.Struct, frozen=True):
    """The object that another one belongs to."""

    kind: str
    name: str
    uid: str
    controller: bool | None = None


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What each object has."""

    name: str
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None

    @property
    def key(self) -> str:
        """Its name, with its namespace."""
        return f"{self.namespace}/{self.name}"

    @property
    def owners(self) -> tuple[OwnerReference, ...]:
        """The objects it belongs to, the one that controls it first."""
        return tuple(sorted(self.owner_references or (), key=lambda owner: not owner.controller))


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One condition of an object. `status`: "True", "False" or "Unknown"; `reason`: one word."""

    type: str
    status: str
    reason: str = ""
    last_transition_time: str | None = None


def utc_s_of(time: str | None) -> float:
    """POSIX seconds of a time such as 2026-11-30T07:14:54Z. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(time or "")
        seconds = moment.timestamp() if moment.tzinfo is not None else -1.0
    except (ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds < LATEST_S:
        raise ValueError(f"expected a time such as 2026-11-30T07:14:54Z, found {(time or '')[:40]!r}")
    return seconds


@lru_cache(maxsize=2_000)
def amount_of(quantity: Quantity) -> float:
    """A quantity such as "4", "500m", "1.5", "64Gi", "1e3" as a number, at most MOST_AMOUNT. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise ValueError(f"expected a quantity such as 4 or 500m, found {str(quantity)[:40]!r}")
    number, exponent, suffix = match.groups()
    return min(float(number + (exponent or "")) * _FACTORS.get(suffix, 1.0), MOST_AMOUNT)
