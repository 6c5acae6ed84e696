"""Reads decimal numbers with point or comma, with or without separators of thousands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

MISSING = frozenset({"", "-", "--", "n/a", "na", "nan", "null", "none"})
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?")
_BETWEEN = re.compile(r"(?<=\d)[ '\u2019\u00a0\u202f](?=\d{3})")  # separators of thousands that are no decimal sign
_SHOWN = 20  # characters


def decimal_sign(texts: Iterable[str], unit: str) -> str:
    """The decimal sign of a column, "." or ",". Raises ValueError where the numbers can be read in two ways.

    A sign that is followed by other than three digits, or that follows a single 0, is decimal; the last of two kinds
    is. Where every value has exactly three digits behind its only sign, thousands would mean that no interval had less
    than 1000 kWh (or kW): for these units the sign is decimal, for W and Wh the user is asked.
    """
    found: dict[str, str] = {}
    open_sign, without = "", 0
    for text in texts:
        bare = _BETWEEN.sub("", text.strip())
        sign, sure = _evidence(bare)
        if sure:
            found.setdefault(sign, bare)
        elif sign:
            open_sign = sign
        else:
            without += 1
    if len(found) > 1:
        raise ValueError(
            f"{found['.']!r} has a decimal point, {found[',']!r} a decimal comma: expected one kind; "
            "write the file anew, or say which with --decimal"
        )
    if found:
        return next(iter(found))
    if not open_sign:
        return "."
    if not without and unit in ("kWh", "kW", "MWh"):
        return open_sign
    raise ValueError(
        f"{open_sign!r} may be the decimal sign or separate thousands: three digits follow it wherever it stands; "
        "say which sign is decimal with --decimal point or --decimal comma"
    )


def _evidence(text: str) -> tuple[str, bool]:
    """(the decimal sign, whether that is sure); ("", False): no sign at all."""
    signs = [c for c in text if c in ".,"]
    if not signs:
        return "", False
    if len(set(signs)) == 2:
        return signs[-1], True
    if len(signs) > 1:
        return "," if signs[0] == "." else ".", True
    whole, _, rest = text.lstrip("+-").partition(signs[0])
    return signs[0], len(rest) != 3 or whole in ("", "0") or len(whole) > 3


def number(text: str, decimal: str) -> float | None:
    """The value of a cell; None: it says that there is none. Raises ValueError saying what was expected."""
    bare = _BETWEEN.sub("", text.strip())
    if bare.lower() in MISSING:
        return None
    other = "," if decimal == "." else "."
    if _NUMBER.fullmatch(bare) is None or bare.count(decimal) > 1 or other in bare.partition(decimal)[2]:
        raise ValueError(f"{text[:_SHOWN]!r}: expected a number such as 12{decimal}5")
    value = float(bare.replace(other, "").replace(decimal, "."))
    if not math.isfinite(value):
        raise ValueError(f"{text[:_SHOWN]!r}: expected a finite number")
    return value
