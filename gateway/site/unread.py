"""Stands for values of a site file that could not be read, so that every check that does not need them is made."""

from __future__ import annotations

from typing import Any, NoReturn

MISSING_KEY = object()  # the value of what is not there


class Unreadable(Exception):
    """A check needed a value that could not be read; it is an error of its own already."""


class _Unread:
    """Stands for a value that could not be read. It may be passed on; using it in any way raises Unreadable."""

    def _refuse(self, *_: object) -> NoReturn:
        raise Unreadable

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __bool__ = __str__ = __format__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __divmod__ = __rdivmod__ = __pow__ = __rpow__ = _refuse
    __neg__ = __pos__ = __abs__ = __invert__ = __round__ = __trunc__ = __floor__ = __ceil__ = _refuse
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refuse
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _refuse
    __int__ = __float__ = __complex__ = __index__ = __len__ = _refuse
    __iter__ = __reversed__ = __contains__ = __getitem__ = __bytes__ = __fspath__ = __call__ = _refuse
    __getattr__ = _refuse


UNREAD: Any = _Unread()


def text(value: str) -> str:
    """The value, for functions that take nothing but a string, such as regular expressions. Raises Unreadable."""
    return str(value)
