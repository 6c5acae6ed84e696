"""Says in words which type of value was expected."""

from __future__ import annotations

import re

TYPES = {"float": "a number", "int": "a whole number", "str": "a text", "bool": "true or false"}
_NAMES = re.compile(rf"\b({'|'.join(TYPES)})\b")


def type_words(message: str) -> str:
    """msgspec's message about a value, "Expected `int | float`", as what was expected: "a whole number | a number"."""
    return _NAMES.sub(lambda found: TYPES[found[0]], message.removeprefix("Expected ").replace("`", ""))
