"""Lists of compute nodes that change while a gateway runs: from a file, from DNS, from Slurm,
from Kubernetes.

Inputs: the keys of a `[[nodes]]` that say where its names come from.
Outputs: the names that are listed now with a note for people, or why they are not known. What becomes of names that
    are new or gone is decided in `gateway.node_lists`.
Units: s.
Must not import: `gateway`, `console`, `storage`.

All of it runs in the process that reads nodes. It waits for networks and commands, each within a deadline.
"""
