"""Tells several devices in one chain of SunSpec models apart: two meters behind an inverter, say."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from drivers.sunspec.discovery import FoundModel

COMMON = 1  # model 1 stands before the models of each device


def instances(models: Sequence[FoundModel], kinds: Iterable[int]) -> list[tuple[FoundModel, ...]]:
    """The models of each device of a kind, in the chain's order. `kinds`: the models that make one, best first.

    A device begins with its model 1; a second model of the same number begins another. One that describes itself twice,
    by a model with scale factors and one with floats, is still one.
    """
    found: list[tuple[FoundModel, ...]] = []
    for section in _sections(models):
        best = next((kind for kind in kinds if any(m.id == kind for m in section)), None)
        if best is not None:
            found += _split(section, best)
    return found


def _sections(models: Sequence[FoundModel]) -> list[list[FoundModel]]:
    sections: list[list[FoundModel]] = [[]]
    for found in models:
        if found.id == COMMON and sections[-1]:
            sections.append([])
        sections[-1].append(found)
    return sections


def _split(section: Sequence[FoundModel], kind: int) -> list[tuple[FoundModel, ...]]:
    """Parts of a section that have one model of the kind each."""
    starts = [n for n, found in enumerate(section) if found.id == kind]
    cuts = [0, *starts[1:], len(section)]
    return [tuple(section[a:b]) for a, b in itertools.pairwise(cuts)]
