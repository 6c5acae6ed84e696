"""Says what to install where a picture cannot be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.cli.failures import Failure


@contextmanager
def drawn(picture: Path) -> Iterator[None]:
    """Within it the modules that draw are imported, and the picture is drawn. Raises Failure without matplotlib."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        missing = f"{picture} is not drawn: matplotlib is not installed: pip install 'skerry[pictures]'"
        raise Failure(f"{missing}; all other results are written") from None
