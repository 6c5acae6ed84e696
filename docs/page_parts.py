"""What the generated pages have in common."""

from __future__ import annotations

GENERATED = "<!-- Written by docs/generate.py; change the code, then run it again. -->"


def table_cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", r"\|")
