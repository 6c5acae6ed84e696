"""What people use: command line, terminal console, replay, sizing. Nothing below imports it."""
