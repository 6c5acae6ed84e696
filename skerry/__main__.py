"""Starts the command line."""

from __future__ import annotations

from skerry import find_packages


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    find_packages()
    from console.cli.main import main as run  # found only now

    run()


if __name__ == "__main__":
    main()
