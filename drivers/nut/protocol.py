"""Takes apart what upsd answers to LIST VAR.

By NUT's docs/net-protocol.txt: a list is `BEGIN LIST VAR name`, lines `VAR name variable "value"`, `END LIST VAR name`;
a refusal is `ERR word`. Elements of several words are quoted; in them a backslash precedes a quote or a backslash.
"""

from __future__ import annotations

import re

from drivers.modbus.errors import BadReply, DeviceError

MOST_LINE_BYTES = 4096  # upsd's own buffers are a quarter of it (LARGEBUF, NUT include/common.h)
MOST_LINES = 8192  # a PDU of 48 outlets has some thousand variables
# Elements: bare, in which a backslash may stand too, or quoted.
_ELEMENT = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|((?:[^\s"\\]|\\.)+))(?=\s|$)')
_ESCAPED = re.compile(r"\\(.)")
_DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")

# NUT, docs/net-protocol.txt, "Error responses": what each means, and what to do
REFUSALS = {
    "ACCESS-DENIED": ("it does not let this machine read", "allow this machine in upsd's LISTEN and firewall"),
    "UNKNOWN-UPS": ("it knows no device of this name", "compare url with the names in upsd's ups.conf (upsc -l HOST)"),
    "DATA-STALE": (
        "its driver gets no data from the device",
        "check the cable or network between NUT's driver and the device, then restart the driver",
    ),
    "DRIVER-NOT-CONNECTED": (
        "its driver for the device does not run",
        "start it on that machine (upsdrvctl start, or nut-driver@NAME) and read its log",
    ),
    "USERNAME-REQUIRED": (
        "it wants a user for reading",
        "let upsd answer LIST VAR without a user, as it does by default",
    ),
    "PASSWORD-REQUIRED": (
        "it wants a user for reading",
        "let upsd answer LIST VAR without a user, as it does by default",
    ),
}


class Refused(DeviceError):
    """upsd answers ERR. `code` is its word, such as DATA-STALE."""

    advice = "see upsd's log"

    def __init__(self, where: str, code: str) -> None:
        self.code = code
        what, advice = REFUSALS.get(code, ("it refuses", ""))
        super().__init__(where, f"upsd answers {code}: {what}", advice)


def elements(line: str) -> list[str]:
    """The elements of a line, unquoted. Raises ValueError: an open quote, or a lone backslash at its end."""
    found, at, end = [], 0, len(line.rstrip())
    while at < end:
        match = _ELEMENT.match(line, at, end)
        if match is None:
            raise ValueError(f"column {at + 1} begins no element")
        quoted, bare = match.groups()
        found.append(_ESCAPED.sub(r"\1", quoted if quoted is not None else bare))
        at = match.end()
    return found


def decimal(text: str | None) -> float | None:
    """A number as NUT writes it, "1200.20": no exponent, no thousands separator; None for anything else."""
    return float(text) if text is not None and _DECIMAL.fullmatch(text) else None


class VariableList:
    """The answer to LIST VAR, line by line. Every line must be about the device that was asked for."""

    def __init__(self, where: str, name: str) -> None:
        self._where, self._name = where, name
        self._lines = 0
        self.values: dict[str, str] = {}

    def take(self, raw: bytes) -> bool:
        """One line with its end; True: it was the last. Raises Refused, BadReply."""
        self._lines += 1
        if self._lines > MOST_LINES:
            raise BadReply(self._where, f"more than {MOST_LINES} lines in one answer")
        try:
            parts = elements(raw.decode("utf-8", errors="replace").removesuffix("\n").removesuffix("\r"))
        except ValueError as error:
            raise BadReply(self._where, f"line {self._lines} of its answer, {error}: {_shown(raw)}") from None
        if self._lines == 1:
            if len(parts) >= 2 and parts[0] == "ERR":
                raise Refused(self._where, parts[1])
            return self._expect(["BEGIN", "LIST", "VAR", self._name], parts, raw)
        if parts[:1] == ["VAR"]:
            if len(parts) != 4 or parts[1] != self._name:
                raise BadReply(self._where, f'expected VAR {self._name} variable "value", got {_shown(raw)}')
            self.values[parts[2]] = parts[3]
            return False
        self._expect(["END", "LIST", "VAR", self._name], parts, raw)
        return True

    def _expect(self, wanted: list[str], parts: list[str], raw: bytes) -> bool:
        if parts != wanted:
            raise BadReply(self._where, f"expected {' '.join(wanted)}, got {_shown(raw)}")
        return False


def _shown(raw: bytes) -> str:
    """A line for an error message, short and printable."""
    return repr(raw if len(raw) <= 80 else raw[:77] + b"...")[1:]
