"""Keeps the records of a site: telemetry, events, decisions, drills, audit. Exports and verifies them.

Inputs: snapshots, decisions, events and commands from the gateway.
Outputs: SQLite files; bounded queries of them; exports with manifest and signature; the findings of a verification.
Units and signs: UTC in microseconds or seconds, scaled integers (value = raw x scale); names carry the unit.
Must not import: `drivers`, `gateway`, `console`; sqlite_utils and numpy outside migrations and exports, so that
    readers start fast.

The caller never waits for a disk; the audit alone acknowledges a row once it is on disk. "storage" is data; the
battery is "battery".
"""
