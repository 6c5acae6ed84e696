"""Starts the command line."""

from __future__ import annotations

import gc

from skerry import find_packages

COLLECT_AFTER = 10_000  # new objects; Python's 700 has a gateway that starts spend an eighth of its time on collections


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    gc.set_threshold(COLLECT_AFTER)
    find_packages()
    from console.cli.main import main as run  # found only now

    run()


if __name__ == "__main__":
    main()
