"""What people touch: command line, terminal console, link, and the gateway that wires the rooms together."""
