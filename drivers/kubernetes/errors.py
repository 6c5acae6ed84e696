"""Why a cluster's API server could not be read."""

from __future__ import annotations


class KubernetesError(Exception):
    """A list cannot be used; the text says where, what was found, what was expected and what to do."""
