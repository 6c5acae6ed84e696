"""What stands in the CSV files of an export: no formulas, and no characters that steer a terminal.

Text that a spreadsheet would run as a formula gets a quote before it; numbers stay as they are. Formulas begin with
= + - @, a tab or a line break (OWASP, "CSV Injection"); the full-width forms of the four signs are taken for them in
some locales. Escapes, other control characters and marks that turn the direction of text become "�".
"""

from __future__ import annotations

from typing import Any

from dispatch.wording.formatting import neutralised

RULE = (
    "text that begins with = + - @ (also full-width), tab, CR or LF has a ' before it; the .db files have it without. "
    "Control characters but tab and LF, and marks of direction, are replaced by \ufffd"
)
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def field(value: Any) -> Any:
    """A value as it is written to a CSV file."""
    return quoted(neutralised(value)) if isinstance(value, str) else value


def quoted(text: str) -> str:
    """Text with a quote before a formula, and nothing else changed."""
    return f"'{text}" if text.startswith(_FORMULA) else text
