"""The installed form of Skerry: `skerry` on the command line, `python -m skerry`.

In a wheel the packages `console`, `gateway`, `dispatch`, `drivers` and `storage` are below `skerry/_packages`, so that
none of them meets another distribution's package of the same name in site-packages. In a checkout they are beside this
package.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

COLLECT_AFTER = 10_000  # new objects; Python's 700 has a gateway that starts spend an eighth of its time on collections


def begin() -> None:
    """The first thing that a process of Skerry's does."""
    gc.set_threshold(COLLECT_AFTER)
    find_packages()


def find_packages() -> None:
    """Put Skerry's own packages first on the path of this process. Does nothing the second time."""
    here = Path(__file__).parent
    place = str(here / "_packages" if (here / "_packages").is_dir() else here.parent)
    if place not in sys.path[:1]:
        sys.path.insert(0, place)
