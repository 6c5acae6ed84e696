"""What decides: pure functions and small state machines. No I/O, no clock of its own, nothing of the other rooms."""
