"""Starts the process that reads compute nodes for a gateway, which alone runs it: `python -m skerry.read_nodes PID`."""

from __future__ import annotations

from skerry import begin


def main() -> None:
    """Run it until the gateway hangs up."""
    begin()
    from gateway.node_reader import main as run  # found only now

    run()


if __name__ == "__main__":
    main()
