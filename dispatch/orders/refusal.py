"""The refusal of an order or of a power reservation."""

from __future__ import annotations

from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words


class OrderRefused(Exception):
    """The order cannot be given; the reason says what is against it, with the figures. As text it is English."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(words(reason))
        self.reason = reason
