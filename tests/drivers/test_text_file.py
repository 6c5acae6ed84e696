"""Text of files that people give: UTF-8, gzip by its name, bounded once it is unpacked."""

from __future__ import annotations

import gzip

import pytest

from drivers import text_file
from drivers.text_file import NotText, text_of


def test_plain_and_packed_text_with_and_without_a_byte_order_mark() -> None:
    for data in ("a,ü\n".encode(), "\ufeffa,ü\n".encode()):
        assert text_of(data, packed=False) == text_of(gzip.compress(data), packed=True) == "a,ü\n"


@pytest.mark.parametrize(
    ("data", "packed", "said"),
    [
        (b"\xff", False, r"expected UTF-8 text, .*; save it as UTF-8"),
        (gzip.compress(b"\xff", mtime=0), True, "expected UTF-8 text"),
        (b"no gzip", True, r"expected gzip, .*drop the suffix \.gz"),
        (gzip.compress(b"a" * 1000, mtime=0)[:-20], True, "expected gzip"),
    ],
    ids=["no UTF-8", "packed, no UTF-8", "no gzip", "gzip cut short"],  # gzip holds the time: workers would differ
)
def test_what_is_no_text_says_what_was_expected(data: bytes, packed: bool, said: str) -> None:
    with pytest.raises(NotText, match=said):
        text_of(data, packed)


def test_what_unpacks_to_more_than_may_be_is_refused_before_it_is_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "MOST_BYTES", 1 << 20)
    assert len(text_of(gzip.compress(bytes(1 << 20)), packed=True)) == 1 << 20
    with pytest.raises(NotText, match="at most 1048576 bytes"):
        text_of(gzip.compress(bytes(64 << 20)), packed=True)
