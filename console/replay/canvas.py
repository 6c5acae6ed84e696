"""Pixels, lines and small capitals, as a PNG: all that a chart needs, with nothing but zlib."""

from __future__ import annotations

import struct
import zlib

Colour = tuple[int, int, int]
WHITE = (255, 255, 255)

# Five rows of three pixels, one octal digit a row, the leftmost pixel is 4.
GLYPHS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71222",
    "8": "75757", "9": "75717", "A": "25755", "B": "65656", "C": "74447", "D": "65556", "E": "74647", "H": "55755",
    "I": "72227", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "75557", "P": "75744", "R": "65655",
    "F": "74744", "G": "34553", "J": "11157", "Q": "25563", "U": "55557", "V": "55552", "X": "55255", "Z": "71247",
    "S": "74717", "T": "72222", "W": "55775", "Y": "55222", "_": "00007", "/": "11244", "%": "51245", "-": "00700",
    ".": "00002",
}  # fmt: skip
SCALE = 2  # pixels per pixel of a glyph
PITCH = 4 * SCALE


class Canvas:
    """RGB on white; (0, 0) is the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows = [bytearray(bytes(WHITE) * width) for _ in range(height)]

    def column(self, x: int, y0: int, y1: int, colour: Colour) -> None:
        """A vertical line of one pixel's width, both ends included, in either order; outside is cut off."""
        if not 0 <= x < self.width:
            return
        for y in range(max(0, min(y0, y1)), min(self.height - 1, max(y0, y1)) + 1):
            self._rows[y][3 * x : 3 * x + 3] = bytes(colour)

    def row(self, y: int, colour: Colour) -> None:
        """A horizontal line over the whole width."""
        if 0 <= y < self.height:
            self._rows[y] = bytearray(bytes(colour) * self.width)

    def text(self, x: int, y: int, words: str, colour: Colour) -> None:
        """Small capitals, their top left at (x, y); what has no glyph is a space."""
        for n, letter in enumerate(words.upper()):
            for down, bits in enumerate(GLYPHS.get(letter, "00000")):
                for across in range(3):
                    if int(bits, 8) & (4 >> across):
                        self._block(x + n * PITCH + across * SCALE, y + down * SCALE, colour)

    def _block(self, x: int, y: int, colour: Colour) -> None:
        for column in range(x, x + SCALE):
            self.column(column, y, y + SCALE - 1, colour)

    def png(self) -> bytes:
        """The file (PNG 1.2: signature, IHDR, IDAT, IEND; 8 bit RGB, filter 0 on every row)."""
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + bytes(row) for row in self._rows), 9)
        chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
