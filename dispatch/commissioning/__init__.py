"""Proves how a PCS behaves: preconditions, the sequence of steps, and what the recorded answers tell.

Inputs: snapshots, decisions, and the times of writes. Outputs: the setpoint to hold now, lines for the person on site,
the figures of a `dispatch.model.proofs.Proof`. Watts at the AC terminals, > 0 discharges; import > 0. Imports neither
drivers nor storage.
"""
