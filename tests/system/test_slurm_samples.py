"""What the tests of `make test` take for Slurm's output is what Slurm prints."""

from __future__ import annotations

from pathlib import Path

import pytest
import slurm_recording
from slurm_cluster import Cluster


@pytest.mark.usefixtures("slurm")  # skipped where there is none
def test_samples_are_what_slurm_prints(place: Path) -> None:
    cluster = Cluster(place, slurm_recording.ROOT / "deploy" / "hooks")
    try:
        cluster.start()
        recorded = slurm_recording.record(cluster)
    finally:
        cluster.stop()
    for name, text in recorded.items():
        sample = slurm_recording.SAMPLES / name
        if not sample.exists():
            pytest.skip(f"no samples of Slurm {cluster.version()}; record them: {slurm_recording.__doc__}")
        assert slurm_recording.comparable(text) == slurm_recording.comparable(sample.read_text()), name
