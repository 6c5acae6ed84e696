"""Reads what must stay secret from a file: a token, a password. A file that every user can read is not used."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import quote, quote_plus

from drivers.http.errors import NotTrusted

MOST_BYTES = 8192
HIDDEN = "(secret)"
LEAST_HIDDEN = 4  # characters: a shorter one would be found in any text


def hidden(text: str, *secrets: str) -> str:
    """A text without secrets that others, such as a server, have put into it; as they are, and as part of a url."""
    for one in secrets:
        for written in dict.fromkeys((one, quote(one), quote(one, safe=""), quote_plus(one))):
            text = text.replace(written, HIDDEN) if len(one) >= LEAST_HIDDEN else text
    return text


def first_line(where: str, key: str, path: Path, advice: str) -> str:
    """The first line of a file, without spaces around it.

    `where`, `key`: device and key of the site file, for errors; `advice`: what the file is to hold.

    Raises NotTrusted: it cannot be read, everybody can read it, or the line is empty or no text.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            line = file.read(MOST_BYTES).partition(b"\n")[0].strip()
    except OSError as error:
        raise NotTrusted(where, f"{key} = {path}: {error.strerror}", advice) from None
    if mode & stat.S_IROTH:
        raise NotTrusted(where, f"{key} = {path}: every user can read it (mode {mode:04o})", advice)
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise NotTrusted(where, f"{key} = {path}: its first line is empty or no printable text", advice)
    return text
