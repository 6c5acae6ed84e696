"""The model on screen: the gateway feed and the order controller change it, the app draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from console.display.viewmodel import Model

NOTICE_S = 6.0  # how long the answer to a command stays in the footer


class ModelStore:
    """Holds the present model.

    changed: called after each change; draws what differs.
    monotonic: the clock that the end of a notice is counted on, s.
    """

    def __init__(self, changed: Callable[[], None], monotonic: Callable[[], float]) -> None:
        self._changed, self._monotonic = changed, monotonic
        self._model = Model()
        self._notice_until_s = 0.0

    @property
    def model(self) -> Model:
        """The present model; it is frozen."""
        return self._model

    def replace(self, model: Model, *, draw: bool = True) -> None:
        """Take another model. With draw false, whoever calls draws it."""
        if model == self._model:
            return
        self._model = model
        if draw:
            self._changed()

    def update(self, **changes: Any) -> None:
        """Change some fields of the model."""
        self.replace(msgspec.structs.replace(self._model, **changes))

    def notify(self, text: str, for_s: float = NOTICE_S) -> None:
        """Show a line in the footer for some seconds."""
        self._notice_until_s = self._monotonic() + for_s
        self.update(notice=text)

    def expire_notice(self) -> None:
        """Remove the line from the footer once its time is over."""
        if self._model.notice and self._monotonic() > self._notice_until_s:
            self.update(notice="")
