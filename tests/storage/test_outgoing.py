"""What leaves the site: every block once, in order, as it was, without the signals that stay."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storage_samples import QUARTER, Site

from storage.blocks import dictionary_hash, opened
from storage.outgoing import BlockPage
from storage.reader import Archive
from storage.signals import Signal

SECRET = "gpu-anna.w"


def wanted(signal: Signal) -> bool:
    return not signal.name.startswith("gpu-")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four packed quarter hours, with a signal that stays."""
    made = Site(tmp_path_factory.mktemp("outgoing"))
    for values in ({SECRET: 7.0}, {SECRET: 8.0, "pcs1.w": 9.0}):
        for _ in range(2):
            made.run(60, values)
            made.now_s += 840
    made.write(whole=True)
    made.pack(made.now_s + 1e5)
    made.file.abandon()
    return made.directory


def own(directory: Path) -> list[tuple[int, bytes]]:
    with closing(sqlite3.connect(directory / "telemetry.db")) as con:
        return con.execute("SELECT seq, v FROM block ORDER BY seq").fetchall()


def pages(directory: Path, most_bytes: int) -> Iterator[BlockPage]:
    """As a hub asks for them."""
    archive = Archive(directory)
    after, offset = 0, 0
    while (page := archive.outgoing_blocks(after, wanted, most_bytes, offset)).blocks:
        yield page
        last = page.blocks[-1]
        offset = last.offset + len(last.data)
        after = last.seq
        if offset < last.size:
            after -= 1
        else:
            offset = 0
    archive.close()


def test_blocks_leave_in_order_and_without_what_stays(directory: Path) -> None:
    kept = own(directory)
    (page,) = pages(directory, 1 << 20)
    assert [(b.seq, b.own_sha256) for b in page.blocks] == [(seq, hashlib.sha256(v).digest()) for seq, v in kept]
    assert (page.first_seq, page.last_seq) == (kept[0][0], kept[-1][0])
    for block, (_, v) in zip(page.blocks, kept, strict=True):
        left, whole = opened(block.data), opened(v)
        signals = page.dictionaries[left.head.dictionary.hex()]
        assert dictionary_hash(signals) == left.head.dictionary
        assert left.head.signals == len(signals) == whole.head.signals - 1
        assert SECRET not in {s.name for s in signals}
        assert (left.head.sequence, left.times_us()) == (whole.head.sequence, whole.times_us())
        names = [s.name for s in signals]
        assert "grid.w" in names
        assert max(left.column(names.index("grid.w")).raw) > 0
        assert b"anna" not in block.data


def test_the_same_block_leaves_as_the_same_bytes_whole_or_in_pieces(directory: Path) -> None:
    (whole,) = pages(directory, 1 << 20)
    for size in (100, 1_000, len(whole.blocks[0].data) + 1):
        joined: dict[int, bytes] = {}
        for page in pages(directory, size):
            assert sum(len(b.data) for b in page.blocks) <= size
            for block in page.blocks:
                assert len(joined.setdefault(block.seq, b"")) == block.offset
                joined[block.seq] += block.data
        assert joined == {b.seq: b.data for b in whole.blocks}


def test_a_damaged_block_says_so_and_those_behind_it_leave(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "telemetry.db").write_bytes((directory / "telemetry.db").read_bytes())
    second = own(directory)[1][0]
    with closing(sqlite3.connect(tmp_path / "telemetry.db")) as con:
        (v,) = con.execute("SELECT v FROM block WHERE seq = ?", (second,)).fetchone()
        con.execute("UPDATE block SET v = ? WHERE seq = ?", (v[:-9] + bytes([v[-9] ^ 1]) + v[-8:], second))
        con.commit()
    (page,) = pages(tmp_path, 1 << 20)
    assert [bool(b.damaged) for b in page.blocks] == [b.seq == second for b in page.blocks]
    assert page.blocks[1].data == b""


def test_what_is_asked_about_is_told_by_its_hash(directory: Path) -> None:
    archive = Archive(directory)
    (seq, v) = own(directory)[0]
    assert archive.outgoing_blocks(seq, wanted, 1000).asked_sha256 == hashlib.sha256(v).digest()
    assert archive.outgoing_blocks(seq - 1, wanted, 1000).asked_sha256 is None
    archive.close()


def test_roll_ups_go_by_the_sequence_of_their_blocks_and_by_time(directory: Path) -> None:
    archive = Archive(directory)
    first, last = own(directory)[0][0], own(directory)[-1][0]
    page = archive.outgoing_quarters(0, wanted, by_time=False)
    assert page.next_seq == page.last_seq == last
    assert sorted({row.t for row in page.rows}) == [QUARTER + 900 * n for n in range(4)]
    names = [page.signals[row.place].name for row in page.rows]
    assert SECRET not in names
    assert "grid.w" in names
    later = archive.outgoing_quarters(first, wanted, by_time=False)
    assert {row.t for row in later.rows} == {QUARTER + 900 * n for n in range(1, 4)}
    assert archive.outgoing_quarters(last, wanted, by_time=False).next_seq is None
    by_time = archive.outgoing_quarters(0, wanted, by_time=True)
    assert (by_time.rows, by_time.next_t) == (page.rows, QUARTER + 2_700)
    assert archive.outgoing_quarters(QUARTER + 2_700, wanted, by_time=True).next_t is None
    archive.close()
