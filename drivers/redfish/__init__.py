"""Reads the power of servers from their BMCs by Redfish (DMTF DSP0266, schemas DSP0268), and sets their power limits.

Inputs: addresses of BMCs, an account of each, what its certificate is verified by; limits that are ordered.
Outputs: a node's power with its source and age, the power of the GPUs on an HGX baseboard; why there is none.
Units: W, s.
Must not import: `gateway`, `console`, `storage`, other drivers than `drivers.http`.
"""
