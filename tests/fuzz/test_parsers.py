"""Every registered parser against inputs that nobody meant: only declared errors, in bounded time and memory.

Some each in `make test`, the same in every run; `make fuzz` takes N each, others in every run (SEED=… repeats one).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzzing import Parser, try_out
from registry import PARSERS

COUNT = int(os.environ.get("SKERRY_FUZZ", "10"))
SEED = os.environ.get("SKERRY_FUZZ_SEED", "0")


@pytest.mark.timeout(max(300, COUNT))
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_only_declared_errors(parser: Parser, tmp_path: Path) -> None:
    try_out(parser, tmp_path, COUNT, SEED)
