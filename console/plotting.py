"""Writes PNG files with matplotlib, which takes most of a second to load: import this only where a picture is drawn.

matplotlib comes with the extra `pictures`; `console.cli.pictures` says so where it is not installed.

Import it before the module that draws, so that matplotlib reports nothing on stderr. Pictures need no display, and do
not depend on the user's matplotlib settings: the same input gives the same bytes on one machine. Matplotlib keeps a
list of the machine's fonts in its cache directory; where the home directory cannot be written, in a temporary one.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it would report a temporary directory as it loads

import matplotlib  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

DPI = 100
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "text.parse_math": False,  # names of sites and tariffs may hold a $
    "axes.grid": True,
    "grid.color": "0.85",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def write_png(path: Path, draw: Callable[[Figure], None]) -> None:
    """Write what `draw` puts on an empty figure; it sets the figure's size, too. Raises OSError."""
    settings: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context(settings | STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # in a name: drawn as a box
        figure = Figure(dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        canvas.print_png(path, metadata={"Software": None})


def period(start_s: float, end_s: float, zone: tzinfo) -> str:
    """Both ends in site time: "2025-11-01 00:00 to 2025-11-02 00:00"; with seconds where there are any."""
    timespec = "seconds" if start_s % 60 or end_s % 60 else "minutes"
    ends = (datetime.fromtimestamp(t_s, zone).replace(tzinfo=None) for t_s in (start_s, end_s))
    return " to ".join(end.isoformat(" ", timespec) for end in ends)
