"""Reads lists of objects from the API server of a Kubernetes cluster: its nodes, its pods, Kueue's workloads.

Inputs: the section `[[kubernetes]]`, the path of a list, selectors. Outputs: the objects, each decoded for the few
fields that are used, or a `KubernetesError` that says what is wrong. Units: s, POSIX seconds, bytes.
Only `list` is asked, nothing is ever changed in a cluster.
Must not import: `gateway`, `console`, `storage`, schedulers, nodes.

Tried on answers made after the API's documents, not on a running cluster.
"""
