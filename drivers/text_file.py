"""Text of a file's content, packed with gzip or not."""

from __future__ import annotations

import gzip
import io
import zlib

MOST_BYTES = 1 << 30  # unpacked; a year of a trace with a row a second
PIECE = 1 << 20


class NotText(ValueError):
    """What was expected of the content, and what to do."""


def text_of(data: bytes, packed: bool) -> str:
    """The text, which must be UTF-8; a byte order mark is left out. Raises NotText."""
    try:
        return (_unpacked(data) if packed else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise NotText(f"expected gzip, {error}; write it again or drop the suffix .gz") from None
    except UnicodeDecodeError as error:
        raise NotText(f"expected UTF-8 text, {error}; save it as UTF-8") from None


def _unpacked(data: bytes) -> bytes:
    """Content of gzip, which may be a thousand times as long. Raises OSError, EOFError, zlib.error, NotText."""
    made = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        while piece := file.read(PIECE):
            made += piece
            if len(made) > MOST_BYTES:
                raise NotText(f"expected at most {MOST_BYTES} bytes once it is unpacked; split it")
    return bytes(made)
