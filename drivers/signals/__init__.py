"""Reads signals from outside: CloudEvents as JSON, and the signatures of their data.

Inputs: bytes of a file, of the link or of a broker; the senders of the site file with their public keys.
Outputs: `dispatch.model.signals.Message`, or `SignalNotRead` with a line for a person.
Units: W, UTC seconds.
Must not import: other drivers, but for key types of the site file; asyncio. It decides nothing: whether a signal is
    accepted is said by `dispatch.orders.signal_book`.
"""
