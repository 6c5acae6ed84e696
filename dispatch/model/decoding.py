"""Decodes msgpack and JSON from outside, with one kind of error; and what earlier versions wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType, UnionType
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from dispatch.model.reasons import Reason

Data = TypeVar("Data")
Content = TypeVar("Content")


def decoded(decode: Callable[[Data], Content], data: Data) -> Content:
    """What a decoder of msgspec makes of data. Raises msgspec.DecodeError, nothing else.

    msgspec lets two more out: UnicodeDecodeError for text that is not UTF-8, RecursionError for nesting too deep.
    """
    try:
        return decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def depth_within(value: Any, most: int) -> bool:
    """Whether lists and maps in built-in types are nested at most so deep. Does not recurse."""
    level = [value]
    for _ in range(most + 1):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                inner += part.values()
            elif isinstance(part, (list, tuple)):
                inner += part
        if not inner:
            return True
        level = inner
    return False


def with_reasons(value: Any, kind: Any, changed: Mapping[Any, Callable[[Any], Any]] = MappingProxyType({})) -> Any:
    """Built-in types that an earlier version wrote for `kind`, with a reason wherever `kind` has one now.

    A sentence becomes a reason of the code `text`; an empty one None, where `kind` allows that. What `kind` does not
    name stays, for msgspec to judge. `changed`: structs that were of another shape, and what makes the present one.
    """
    if isinstance(value, str):
        kinds = _alternatives(kind)
        if Reason not in kinds:
            return value
        return None if not value and type(None) in kinds else {"code": "text", "figures": {"text": value}}
    if isinstance(value, (list, tuple)):
        return [with_reasons(part, of, changed) for part, of in zip(value, _parts(kind, len(value)), strict=True)]
    if isinstance(value, dict):
        return _struct_with_reasons(value, kind, changed)
    return value


def _struct_with_reasons(value: dict[Any, Any], kind: Any, changed: Mapping[Any, Callable[[Any], Any]]) -> Any:
    struct = next((k for k in _alternatives(kind) if isinstance(k, type) and issubclass(k, msgspec.Struct)), None)
    if struct in changed:
        value = changed[struct](value)
    types = {} if struct is None else _field_types(struct)
    return {name: with_reasons(part, types[name], changed) if name in types else part for name, part in value.items()}


@lru_cache
def _field_types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union; `kind` alone if it is none."""
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _parts(kind: Any, count: int) -> Sequence[Any]:
    """The kinds of the parts of a list or tuple."""
    found = next((k for k in _alternatives(kind) if get_origin(k) in (list, tuple)), None)
    kinds = get_args(found)
    if len(kinds) == count and Ellipsis not in kinds and get_origin(found) is tuple:
        return kinds
    return [kinds[0] if kinds and (get_origin(found) is list or Ellipsis in kinds) else None] * count
