"""Settings every test shares."""

from __future__ import annotations

import pytest
from hypothesis import settings

from dispatch.model.reasons import Reason
from dispatch.wording import catalogue

# Reproducible by default: the same tree gives the same examples. `pytest --hypothesis-profile=explore` looks further.
settings.register_profile("reproducible", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def every_code_has_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """At run time a code without words is shown as it is; in a test it is a mistake."""

    def missing(reason: Reason) -> str:
        raise AssertionError(f"the catalogue has no words for {reason}")

    monkeypatch.setattr(catalogue, "unworded", missing)
