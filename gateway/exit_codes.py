"""Exit codes of the `skerry` command."""

from __future__ import annotations

OK = 0
FAILED = 1  # the operation was tried and failed
USAGE = 2  # bad usage or a site file with errors
NO_GATEWAY = 3  # no gateway runs for the site
REFUSED = 4  # the gateway refused the command
ALREADY_RUNNING = 5  # a gateway already runs this site
DEVICE = 6  # a device or port needed at start is not available

MEANINGS = {
    OK: "ok",
    FAILED: "the operation failed",
    USAGE: "bad usage, or errors in the site file",
    NO_GATEWAY: "no gateway is running",
    REFUSED: "the gateway refused",
    ALREADY_RUNNING: "a gateway already runs this site",
    DEVICE: "a device or port needed at start is not available",
}
