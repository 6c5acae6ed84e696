"""Settings every test shares."""

from __future__ import annotations

from hypothesis import settings

# Reproducible by default: the same tree gives the same examples. `pytest --hypothesis-profile=explore` looks further.
settings.register_profile("reproducible", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("reproducible")
