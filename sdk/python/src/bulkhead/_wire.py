"""Between the wire's names and Python's."""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any, TypeVar

from .errors import BulkheadError, ValidationError
from .types import Wire

T = TypeVar("T", bound=Wire)

#: Names that are not the plain camel case of Python's.
SPECIAL = {"allowed_ips": "allowedIPs", "max_storage_mb": "maxStorageMB", "storage_mb": "storageMB"}
#: Fields whose own fields are names of ours too; the keys of any other mapping are the caller's.
NESTED = frozenset({"limits", "features", "security", "budgets", "rateLimit"})


def camel(name: str) -> str:
    """``requests_per_minute`` as ``requestsPerMinute``; what is camel case already stays."""
    return SPECIAL.get(name) or re.sub(r"_([a-z0-9])", lambda found: found.group(1).upper(), name)


def encode(value: Mapping[str, Any]) -> dict[str, Any]:
    """A request's fields, under either spelling. None is told as null, which takes a value away."""
    encoded: dict[str, Any] = {}
    for name, item in value.items():
        name = camel(name)
        if isinstance(item, Mapping) and name in NESTED:
            encoded[name] = {camel(inner): plain(one) for inner, one in item.items()}
        else:
            encoded[name] = plain(item)
    return encoded


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, (datetime, date)):
        return instant(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(item) for item in value]
    return value


def instant(value: datetime | date | str | None) -> str | None:
    """An instant as RFC 3339 in UTC. A datetime without a zone is refused: nobody knows when it is."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            message = "A datetime needs a zone: datetime(2026, 12, 31, tzinfo=timezone.utc)"
            raise ValidationError(message, field="datetime")
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00.000Z"
    return value


def merged(told: Mapping[str, Any] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that came as one mapping, by name, or both. A name that was left at None is left out."""
    if told is not None and not isinstance(told, Mapping):
        raise ValidationError("Pass one mapping, or arguments by name", field="arguments")
    return encode({**(told or {}), **{name: value for name, value in named.items() if value is not None}})


def decode(kind: type[T], value: Any) -> T:
    """A dataclass of `types.py` from a JSON object. Fields that it does not know are in ``raw``."""
    if not isinstance(value, Mapping):
        raise BulkheadError(f"The gateway answered without a {kind.__name__}", code="BAD_ANSWER")
    known = {}
    for name, hint in _hints(kind).items():  # type: ignore[arg-type]
        item = value.get(camel(name), value.get(name))
        if name != "raw" and item is not None:
            known[name] = _decode(hint, item)
    return kind(**known, raw=value)


@functools.lru_cache(maxsize=256)
def _hints(kind: Hashable) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _decode(hint: Any, value: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    if isinstance(hint, type) and issubclass(hint, Wire):
        return decode(hint, value)
    if typing.get_origin(hint) is list and isinstance(value, list):
        (item,) = typing.get_args(hint)
        return [_decode(item, one) for one in value]
    return value
