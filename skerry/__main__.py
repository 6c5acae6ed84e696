"""Starts the command line."""

from __future__ import annotations

from skerry import begin


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    begin()
    from console.cli.main import main as run  # found only now

    run()


if __name__ == "__main__":
    main()
