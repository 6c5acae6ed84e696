"""Loads the price sheets that come with Skerry: real ones of grid operators, written as `[tariff]` of a site file.

They are examples to copy from. What was verified in a sheet, and what was not, stands in its file.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import msgspec

from dispatch.config.tariff_terms import TariffTerms

BUNDLED = Path(__file__).parent / "sheets"


class SheetInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[sheet]`: whose prices these are, and how well they are known."""

    country: str  # ISO 3166
    operator: str
    title: str
    year: int
    timezone: str
    source: str
    verified: str
    not_verified: str


class PriceSheet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sheet: `tariff` is what a site file would have."""

    sheet: SheetInfo
    tariff: TariffTerms


def names() -> list[str]:
    """The names of the sheets."""
    return sorted(path.stem for path in BUNDLED.glob("*.toml"))


def load(name: str) -> PriceSheet:
    """The sheet of that name. Raises ValueError for a name that there is not."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known
        raise ValueError(f"no price sheet {name!r}: expected one of {len(known)}, such as {', '.join(near)}")
    return msgspec.toml.decode((BUNDLED / f"{name}.toml").read_bytes(), type=PriceSheet)
