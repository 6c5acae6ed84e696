"""What is safe to write to a terminal: no control characters from outside, and nothing that its encoding lacks."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from typing import TextIO

from dispatch.wording.formatting import REPLACED, neutralised

# One character for one, so that columns stay where they are. What is not listed becomes "?".
PLAIN = {
    **dict.fromkeys("–—─━┄╌−", "-"),
    **dict.fromkeys("│┊┤╵▏▕▎", "|"),
    **dict(zip("▁▂▃▄▅▆▇", "_.-=+*%", strict=True)),  # a curve of eight heights
    **dict.fromkeys("█▉▊▋▌▍", "#"),
    **dict.fromkeys("●✓", "*"),
    "✗": "x",
    "…": ".",
    "·": ".",
    "×": "x",
    "°": " ",
    "≤": "<",
    "≥": ">",
    "∞": "-",
    "±": "~",
    "§": "S",
    "Δ": "d",
    "φ": "p",
    "←": "<",
    "◀": "<",
    "→": ">",
    "▶": ">",
    "↑": "^",
    "▲": "^",
    "↓": "v",
    "▼": "v",
    "\u00a0": " ",
}
BRAILLE = range(0x2800, 0x2900)
BRAILLE_ROWS = (0x09, 0x12, 0x24, 0xC0)  # the dots of each row of four, from the top
BRAILLE_PLAIN = "'--._"  # by the mean of the rows with dots
ERRORS = "skerry.plain"


def one_line(text: str) -> str:
    """The same for what must stay on its line: a name with a line end would otherwise forge another line."""
    return neutralised(text).replace("\n", REPLACED)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: the plain characters for those that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(plain_character(c) for c in error.object[error.start : error.end]), error.end


def plain_character(character: str) -> str:
    """One ASCII character in place of another; "?" for what looks like none, and for the second half of a wide one."""
    if len(character) != 1:
        return "?"
    if ord(character) in BRAILLE:
        return _plain_braille(ord(character))
    if character in PLAIN:
        return PLAIN[character]
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
    return base if len(base) == 1 and base.isprintable() else "?"


def _plain_braille(code: int) -> str:
    """Dots at one height by a character of that height; those that rise or fall by ":"."""
    rows = [n for n, bits in enumerate(BRAILLE_ROWS) if code & bits]
    if not rows:
        return " "
    return ":" if rows[-1] - rows[0] > 1 else BRAILLE_PLAIN[round(sum(rows) / len(rows) + 0.1)]


class _TerminalOutput(io.TextIOWrapper):
    """Standard output without control characters, whatever is printed.

    ascii_only: click writes UTF-8 past a stream that says its encoding is ASCII, so this one says UTF-8 and replaces
    the characters itself.
    """

    ascii_only = False

    def write(self, text: str) -> int:
        """Write the text, neutralised."""
        text = neutralised(text)
        return super().write(text.encode("ascii", ERRORS).decode("ascii") if self.ascii_only else text)


def prepare_output() -> None:
    """Make this process's standard output and error safe. Bytes (JSON, the link) are not touched."""
    for stream in {sys.stderr, sys.__stderr__}:  # Textual paints on the latter
        _replace_unknown(stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding, line_buffering = sys.stdout.encoding, sys.stdout.line_buffering
        write_through, ascii_only = sys.stdout.write_through, codecs.lookup(encoding).name == "ascii"
        replaced = _TerminalOutput(
            sys.stdout.detach(),
            encoding="utf-8" if ascii_only else encoding,
            errors=ERRORS,
            newline="\n",
            line_buffering=line_buffering,
            write_through=write_through,
        )
        replaced.ascii_only = ascii_only
        sys.stdout = sys.__stdout__ = replaced  # type: ignore[misc]


def output_shows(characters: str) -> bool:
    """Whether standard output writes these characters as they are, not the plain ones in their place."""
    stream = sys.stdout
    if isinstance(stream, _TerminalOutput) and stream.ascii_only:
        return characters.isascii()
    try:
        characters.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _replace_unknown(stream: TextIO | None) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=ERRORS)


codecs.register_error(ERRORS, _plain)
