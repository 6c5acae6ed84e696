"""What `--json` prints: valid JSON, the same value back, and nothing that steers a terminal or that it cannot show."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from console.cli.json_output import json_text

texts = st.text(st.characters(exclude_categories=("Cs",)))


@given(texts, texts, st.sampled_from([0, 2]))
def test_only_plain_ascii_is_printed_and_read_back_the_same(name: str, text: str, indent: int) -> None:
    value = {name: [text, 1.5, None], "a name\x1b[2J\x9b2J\x7f\u202e\u2028\U0001f600 µ": "\n"}
    printed = json_text(value, indent)
    assert json.loads(printed) == value
    assert set(printed) <= {*map(chr, range(0x20, 0x7F)), "\n"}
    assert indent or "\n" not in printed
