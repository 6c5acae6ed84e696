"""What stands in the CSV files of an export: text that a spreadsheet would run as a formula gets a quote before it.

Numbers stay as they are. Formulas begin with = + - @, a tab or a line break (OWASP, "CSV Injection"); the full-width
forms of the four signs are taken for them in some locales.
"""

from __future__ import annotations

from typing import Any

RULE = "text that begins with = + - @ (also full-width), tab, CR or LF has a ' before it; the .db files have it without"
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def field(value: Any) -> Any:
    """A value as it is written to a CSV file."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
