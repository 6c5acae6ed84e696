"""Copies of a simulated site that has run for a while: tests go on from there instead of each running it again."""

from __future__ import annotations

import io
import pickle
from types import FunctionType
from typing import Generic, TypeVar

T = TypeVar("T")


class _Pickler(pickle.Pickler):
    """Leaves functions as they are, as deepcopy does."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.functions: list[FunctionType] = []

    def persistent_id(self, found: object) -> int | None:
        if not isinstance(found, FunctionType):
            return None
        self.functions.append(found)
        return len(self.functions) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, functions: list[FunctionType]) -> None:
        super().__init__(file)
        self.functions = functions

    def persistent_load(self, number: int) -> FunctionType:
        return self.functions[number]


class Copies(Generic[T]):
    """Makes copies of an object as it is now. Functions in it are shared, so none may refer to the object itself.

    Pickled once, because deepcopy takes much longer.
    """

    def __init__(self, original: T) -> None:
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.dump(original)
        self._pickled, self._functions = file.getvalue(), pickler.functions

    def copy(self) -> T:
        """One that knows nothing of the others."""
        found: T = _Unpickler(io.BytesIO(self._pickled), self._functions).load()
        return found
