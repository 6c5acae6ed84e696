"""What tests of the twin in lock-step share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from claims_witness import Witness

from dispatch.model.decision import Decision
from drivers.twin.lockstep import LockstepSite


@pytest.fixture
def claims_judged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    """Each decision that a test applies to a lock-step site is judged by the twin's truth; what was untrue fails it."""
    witness, applied = Witness(), LockstepSite.apply

    def judged(self: LockstepSite, decision: Decision) -> None:
        witness.judge(self, decision)
        applied(self, decision)

    monkeypatch.setattr(LockstepSite, "apply", judged)
    yield witness
    assert witness.untrue == []
