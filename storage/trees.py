"""Reads the rows of a damaged telemetry file, table by table, around what is damaged."""

from __future__ import annotations

import functools
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from storage import schema
from storage.blocks import opened
from storage.context import decoded
from storage.copying import Row
from storage.damage import DAMAGED
from storage.drills import record_of
from storage.packing import FAR_US
from storage.pages import (
    INDEX_INNER,
    INDEX_LEAF,
    MOST_BYTES,
    TABLE_INNER,
    TABLE_LEAF,
    Cell,
    PageDamaged,
    Pages,
    Value,
)
from storage.rows import DECISION_COLUMNS, decision_of
from storage.samples import QUARTER_US

DEEP = 20  # levels of a tree
FIRST_TABLES = {"run", "signal", "hot", "r1m", "event", "decision", "state"}  # that every version's files have
_KINDS = {False: (TABLE_INNER, TABLE_LEAF), True: (INDEX_INNER, INDEX_LEAF)}


class Hole(NamedTuple):
    """Where rows were that cannot be read: a whole page of them, or one."""

    page: bool


class _Column(NamedTuple):
    name: str
    kind: str  # INTEGER, REAL, TEXT or BLOB
    required: bool
    default: Value


class _Shape(NamedTuple):
    """A table of this version: where it is, and what its rows hold."""

    root: int
    columns: tuple[_Column, ...]
    whole: bool  # a tree of an index: the table is WITHOUT ROWID


class Trees:
    """The tables of one file. Methods raise OSError."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._shapes = _shapes()
        self.leaves = 0  # pages read that hold rows, of the table that was read last
        self.guessed = False  # where tables are: the file does not say it of all
        self._seen = bytearray(pages.count + 1)
        self._roots = self._stated_roots()
        self._seen = bytearray(pages.count + 1)

    def rows(self, name: str) -> Iterator[Row | Hole]:
        """The rows of a table in the order of its key, with the columns of this version's schema."""
        shape = self._shapes[name]
        self.leaves = 0
        root = self._roots.get(name, shape.root if self.guessed else 0)
        if not root:
            return  # a table that this file's version did not have
        for cell in self._walk(root, shape.whole, 0):
            if isinstance(cell, Hole):
                yield cell
                continue
            try:
                row = _row(shape, cell)
                _check(name, row)
            except DAMAGED:
                yield Hole(page=False)
            else:
                yield row

    def _walk(self, number: int, index: bool, depth: int) -> Iterator[Cell | Hole]:
        """The cells of a page and of all below it. Each page is read once, so a circle has an end."""
        if not 1 <= number <= self._pages.count or self._seen[number] or depth > DEEP:
            yield Hole(page=True)
            return
        self._seen[number] = 1
        try:
            kind, cells, last = self._pages.cells(number)
        except PageDamaged:
            kind, cells, last = 0, [], 0
        inner, leaf = _KINDS[index]
        if kind == leaf:
            self.leaves += 1
            yield from (cell if cell is not None else Hole(page=False) for cell in cells)
        elif kind == inner:
            for cell in self._below(number, cells, last):
                yield from self._followed(cell, index, depth)
        else:
            below = self._pages.children(number)
            if index or not below:
                yield Hole(page=True)
            for child in below:
                yield from self._walk(child, index, depth + 1)

    def _followed(self, cell: Cell | Hole, index: bool, depth: int) -> Iterator[Cell | Hole]:
        """What is below a cell of an inner page; then the row that it holds, if it is of an index."""
        if isinstance(cell, Hole):
            yield cell
            return
        if cell.child:
            yield from self._walk(cell.child, index, depth + 1)
        if index and cell.values:
            yield cell

    def _below(self, number: int, cells: list[Cell | None], last: int) -> Iterator[Cell | Hole]:
        """Cells of an inner page. What a damaged one led to is looked for in the pointer map, which leads back."""
        doubtful = []
        for cell in [*cells, Cell(last, 0, ())]:
            if cell is None:
                yield Hole(page=False)
            elif self._pages.above(cell.child) in (0, number):
                yield cell
            else:
                doubtful.append(cell)
        if doubtful or None in cells:
            found = [child for child in self._pages.children(number) if not self._seen[child]]
            yield from (Cell(child, 0, ()) for child in found)
            # no other page belongs here: it may be the map that is damaged
            yield from doubtful[len(found) :]

    def _stated_roots(self) -> dict[str, int]:
        """Where the file itself says that its tables are, as far as that can be read."""
        found: dict[str, int] = {}
        for cell in self._walk(1, False, 0):
            if isinstance(cell, Hole):
                self.guessed = True
            elif len(cell.values) == 5:
                kind, name, _, root, _ = cell.values
                known = kind == "table" and isinstance(name, str) and name in self._shapes and isinstance(root, int)
                if known and self._is_root(str(name), int(str(root))):
                    found[str(name)] = int(str(root))
        self.guessed = self.guessed or not found.keys() >= FIRST_TABLES
        return found

    def _is_root(self, name: str, root: int) -> bool:
        """Whether a tree of the table's kind begins there. One whose page is damaged may."""
        try:
            kind = self._pages.cells(root)[0]
        except PageDamaged:
            return root == self._shapes[name].root
        return kind in _KINDS[self._shapes[name].whole]


@functools.cache
def _shapes() -> dict[str, _Shape]:
    """The tables as this version's migrations make them in a new file."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
        con.execute("PRAGMA auto_vacuum = INCREMENTAL")  # as `schema.prepare`: roots come first, in order of making
        schema.migrate(con, Path(":memory:"))
        found = {}
        tables = con.execute("SELECT name, rootpage, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
        for name, root, sql in tables:
            columns = tuple(
                _Column(column, kind, bool(required or key), None if default is None else int(default))
                for _, column, kind, required, default, key in con.execute(f"PRAGMA table_info({name})")
                if kind in ("INTEGER", "REAL", "TEXT", "BLOB")
            )
            found[name] = _Shape(root, columns, "WITHOUT ROWID" in sql)
    return found


def _row(shape: _Shape, cell: Cell) -> Row:
    """The values of a cell as a row of its table. Raises ValueError for values that the table does not take."""
    values = [*cell.values, *(column.default for column in shape.columns[len(cell.values) :])]
    if not shape.whole and values and values[0] is None:
        values[0] = cell.rowid  # the INTEGER PRIMARY KEY
    row = []
    for value, column in zip(values, shape.columns, strict=True):
        if column.kind == "REAL" and isinstance(value, int):
            value = float(value)
        taken = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}[column.kind]
        if not (isinstance(value, taken) or (value is None and not column.required)):
            raise ValueError(f"{value!r} in column {column.name}")
        row.append(value)
    return tuple(row)


def _check(name: str, row: Row) -> None:
    """Raises one of `damage.DAMAGED` for a row that no version has written."""
    if (
        name in ("hot", "event", "decision", "context", "drill", "r1m", "r15")
        and not abs(row[name not in _BY_TIME]) < FAR_US
    ):
        raise ValueError("a time that no clock shows")
    if name == "block":
        head = opened(row[5]).head
        if (head.t0_us, head.step_us, head.samples) != row[1:4]:
            raise ValueError("a block that is not of its row")
    elif name == "hot":
        _check_samples(row)
    elif name == "decision":
        columns = ("id", *DECISION_COLUMNS.split(", "))
        by_name = dict(zip(("id", "ts_utc_us", "run", *columns[2:]), row, strict=True))
        decision_of([by_name[column] for column in columns[1:]])
    elif name == "context":
        decoded(row[3], row[4])
    elif name == "drill":
        record_of((row[0], *row[8:]))
    elif name == "state":
        json.loads(row[1])


_BY_TIME = ("hot", "r1m", "r15")  # whose first column is the time; of the others it is the second


def _check_samples(row: Row) -> None:
    ts, _, _, v, dictionary, step_us, times = row
    if dictionary is None:
        if not v or len(v) % 4:
            raise ValueError("samples of no whole number of signals")
        return
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(v, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    stated = [int.from_bytes(times[k : k + 8], "little", signed=True) for k in range(0, len(times), 8)]
    if not unpacker.eof or step_us <= 0 or not stated or any(abs(t - ts) > QUARTER_US for t in stated):
        raise ValueError("samples that do not belong together")
