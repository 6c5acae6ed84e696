"""Reads the pages of a SQLite file without SQLite: also of one that it refuses, because parts of it are damaged.

File format: https://www.sqlite.org/fileformat2.html (b-tree pages, records, overflow, pointer maps, WAL). What is in
the WAL counts before what is in the file. A frame of the WAL whose checksum is wrong is left out, those behind it
count: each has a checksum that begins with that of the frame before.
"""

from __future__ import annotations

import os
import struct
from array import array
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

Value = int | float | str | bytes | None

TABLE_INNER, TABLE_LEAF, INDEX_INNER, INDEX_LEAF = 5, 13, 2, 10  # kinds of b-tree pages
MOST_BYTES = 64 << 20  # of one row
_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
_USUAL = 4096  # what Skerry's files have
_MAGIC = b"SQLite format 3\x00"
_WAL_HEAD, _FRAME_HEAD = 32, 24


class PageDamaged(ValueError):
    """The bytes are none that SQLite has written there."""


class Cell(NamedTuple):
    """One cell of a b-tree page: the child left of it (inner pages), its rowid (tables), and its values (if any)."""

    child: int
    rowid: int
    values: tuple[Value, ...]


class Pages:
    """The pages of one file as of its last commit. For one thread. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        """Open a file, and the WAL beside it if there is one."""
        self._file = path.open("rb")
        self.lost_frames = 0  # of the WAL, damaged
        self.size = _USUAL
        self._frames: dict[int, int] = {}  # page -> where its content is in the WAL
        wal = Path(f"{path}-wal")
        self._wal = wal.open("rb") if wal.exists() else None
        head = self._file.read(100)
        stated = int.from_bytes(head[16:18], "big")
        if head[:16] == _MAGIC and (65536 if stated == 1 else stated) in _SIZES:
            self.size = 65536 if stated == 1 else stated
        self.count = os.fstat(self._file.fileno()).st_size // self.size
        if self._wal is not None:
            self._index_wal()
        self.usable = self.size  # Skerry's files reserve nothing at the end of a page
        self._parents: array[int] | None = None

    def close(self) -> None:
        """Let go of the files."""
        self._file.close()
        if self._wal is not None:
            self._wal.close()

    def read(self, number: int) -> bytes:
        """A page, counted from 1. Raises PageDamaged if there is none of that number."""
        place = self._frames.get(number)
        if place is not None and self._wal is not None:
            content = os.pread(self._wal.fileno(), self.size, place)
        elif 1 <= number <= self.count:
            content = os.pread(self._file.fileno(), self.size, (number - 1) * self.size)
        else:
            raise PageDamaged(f"there is no page {number}")
        if len(content) < self.size:
            raise PageDamaged(f"page {number} is cut off")
        return content

    def cells(self, number: int) -> tuple[int, list[Cell | None], int]:
        """Kind, cells and last child (of an inner page) of a b-tree page; None for a cell that is damaged.

        Raises PageDamaged if it is no b-tree page.
        """
        page = self.read(number)
        at = 100 if number == 1 else 0
        kind, count = page[at], int.from_bytes(page[at + 3 : at + 5], "big")
        inner = kind in (TABLE_INNER, INDEX_INNER)
        begin = at + (12 if inner else 8)
        if kind not in (TABLE_INNER, TABLE_LEAF, INDEX_INNER, INDEX_LEAF) or begin + 2 * count > self.size:
            raise PageDamaged(f"page {number} is no b-tree page")
        found: list[Cell | None] = []
        for place in struct.unpack_from(f">{count}H", page, begin):
            try:
                found.append(self._cell(page, kind, place, begin + 2 * count))
            except (ValueError, IndexError, struct.error):
                found.append(None)
        return kind, found, int.from_bytes(page[at + 8 : at + 12], "big") if inner else 0

    def children(self, parent: int) -> list[int]:
        """The b-tree pages of which a pointer map says that this page is the one above. Empty without such a map."""
        if self._parents is None:
            self._parents = self._read_map()
        found, at = [], -1
        with suppress(ValueError):
            while True:
                at = self._parents.index(parent, at + 1)
                found.append(at)
        return found

    def above(self, number: int) -> int:
        """The page above a b-tree page, as a pointer map has it; 0 if it says nothing."""
        if self._parents is None:
            self._parents = self._read_map()
        return self._parents[number] if 0 <= number < len(self._parents) else 0

    def _cell(self, page: bytes, kind: int, at: int, least: int) -> Cell:
        if not least <= at < self.usable:
            raise PageDamaged("a cell lies outside")
        child = rowid = 0
        if kind in (TABLE_INNER, INDEX_INNER):
            child, at = int.from_bytes(page[at : at + 4], "big"), at + 4
        if kind == TABLE_INNER:
            rowid, at = _varint(page, at)
            return Cell(child, rowid, ())
        length, at = _varint(page, at)
        if kind == TABLE_LEAF:
            rowid, at = _varint(page, at)
        if not 0 < length <= MOST_BYTES:
            raise PageDamaged(f"a row of {length} bytes")
        return Cell(child, rowid, values_of(self._payload(page, at, length, kind == TABLE_LEAF)))

    def _payload(self, page: bytes, at: int, length: int, table: bool) -> bytes:
        """A row's bytes, also where most of them are on pages of their own."""
        usable = self.usable
        most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
        here = length
        if length > most:
            least = (usable - 12) * 32 // 255 - 23
            here = least + (length - least) % (usable - 4)
            here = here if here <= most else least
        parts = [page[at : at + here]]
        missing, following = length - here, page[at + here : at + here + 4]
        while missing > 0:
            page = self.read(int.from_bytes(following, "big"))
            following = page[:4]
            parts.append(page[4 : min(usable, 4 + missing)])
            missing -= len(parts[-1])
        content = b"".join(parts)
        if len(content) != length:
            raise PageDamaged(f"{len(content)} bytes of a row, {length} expected")
        return content

    def _read_map(self) -> array[int]:
        """The page above each b-tree page, 0 where there is none."""
        parents = array("I", bytes(4 * (self.count + 1)))
        if struct.unpack(">I", (self._first()[52:56]))[0] == 0:
            return parents
        entries = self.usable // 5
        for start in range(2, self.count + 1, entries + 1):
            try:
                content = self.read(start)
            except PageDamaged:
                continue
            for n, (kind, parent) in enumerate(struct.iter_unpack(">BI", content[: 5 * entries]), start + 1):
                if kind == 5 and n <= self.count:
                    parents[n] = parent
        return parents

    def _first(self) -> bytes:
        """The first page; of a file without its mark it is not known whether there is a pointer map: as Skerry's."""
        try:
            page = self.read(1)
        except PageDamaged:
            page = b""
        return page if page[:16] == _MAGIC else b"\x00" * 52 + b"\x00\x00\x00\x01" + b"\x00" * 44

    def _index_wal(self) -> None:
        """Find the last frame of each page up to the last commit."""
        assert self._wal is not None
        head = self._wal.read(_WAL_HEAD)
        if len(head) < _WAL_HEAD or head[:4] not in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"):
            self.lost_frames += int(bool(head.strip(b"\x00")))
            return
        order = ">" if head[3] & 1 else "<"
        if int.from_bytes(head[8:12], "big") != self.size:
            self.lost_frames += 1
            return
        before: tuple[int, int] = struct.unpack(">II", head[24:32])
        waiting: dict[int, int] = {}
        at, lost = _WAL_HEAD, 0
        while len(frame := self._wal.read(_FRAME_HEAD + self.size)) == _FRAME_HEAD + self.size:
            number, commit = struct.unpack_from(">II", frame)
            stated: tuple[int, int] = struct.unpack_from(">II", frame, 16)
            sound = _checksum(frame[:8] + frame[_FRAME_HEAD:], before, order) == stated
            if frame[8:16] == head[16:24] and sound:
                waiting[number] = at + _FRAME_HEAD
                if commit:
                    self._frames.update(waiting)
                    self.count, waiting = commit, {}
                    self.lost_frames, lost = self.lost_frames + lost, 0
            elif frame[8:16] != head[16:24]:
                break  # what an earlier round has left
            else:
                lost += 1
            before = stated
            at += len(frame)
        self.lost_frames += lost


def values_of(payload: bytes) -> tuple[Value, ...]:
    """The values of a record. Raises ValueError, IndexError and struct.error for bytes that are none."""
    head, at = _varint(payload, 0)
    kinds = []
    while at < head:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != head:
        raise PageDamaged("a record's head does not end where it says")
    found = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        found.append(value)
    if at != len(payload):
        raise PageDamaged("a record does not end where it says")
    return tuple(found)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind <= 6:
        size = (1, 2, 3, 4, 6, 8)[kind - 1]
        return int.from_bytes(payload[at : at + size], "big", signed=True), at + size
    if kind < 12:
        raise PageDamaged(f"a value of kind {kind}")
    size = (kind - 12) // 2
    content = payload[at : at + size]
    return (content if kind % 2 == 0 else content.decode()), at + size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(8):
        byte = content[at + n]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + n + 1
    value = value << 8 | content[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _checksum(content: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    """The checksum of a frame of the WAL: see "Checksum Algorithm" of the file format."""
    first, second = before
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for k in range(0, len(words), 2):
        first = (first + words[k] + second) & 0xFFFFFFFF
        second = (second + words[k + 1] + first) & 0xFFFFFFFF
    return first, second
