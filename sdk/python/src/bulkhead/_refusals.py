"""From an answer that is an error to the class that says which."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from . import errors

#: Characters of an answer that is not JSON which an error's message repeats.
EXCERPT_CHARS_MAX = 200

#: What a code alone decides.
BY_CODE: Mapping[str, type[errors.HTTPError]] = {
    "QUOTA_EXCEEDED": errors.QuotaExceededError,
    "TOOL_NOT_FOUND": errors.ToolNotFoundError,
    "SERVER_NOT_FOUND": errors.ServerNotFoundError,
    "NOT_IMPLEMENTED": errors.NotImplementedError,
}

#: What a status decides otherwise.
BY_STATUS: Mapping[int, type[errors.HTTPError]] = {
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    501: errors.NotImplementedError,
}


@dataclass(frozen=True)
class Reply:
    """An answer as it came. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    def good(self) -> bool:
        return 200 <= self.status < 300


def error_of(reply: Reply, body: Any) -> errors.BulkheadError:
    """The error that an answer tells; ``body`` is its JSON, or None."""
    facts = _facts(reply, body)
    message = facts.pop("message")
    if reply.status in (400, 422):
        del facts["retry_after"]
        field = facts["context"].get("field")
        return errors.ValidationError(message, field=field if isinstance(field, str) else None, **facts)
    if reply.status == 429 and facts["code"] != "QUOTA_EXCEEDED":
        limits = mapping(mapping(body).get("limits"))
        limit = _whole(limits.get("limit"), reply.headers.get("x-ratelimit-limit"))
        remaining = _whole(limits.get("remaining"), reply.headers.get("x-ratelimit-remaining"))
        return errors.RateLimitError(message, limit=limit, remaining=remaining, **facts)
    known = BY_CODE.get(facts["code"]) or BY_STATUS.get(reply.status)
    return (known or (errors.ServerError if reply.status >= 500 else errors.HTTPError))(message, **facts)


def _facts(reply: Reply, body: Any) -> dict[str, Any]:
    whole = mapping(body)
    # A limit tells its error as a text and its code beside it; every other refusal tells an object.
    told = whole.get("error")
    error = told if isinstance(told, Mapping) else whole
    fallback = "NOT_IMPLEMENTED" if reply.status == 501 else f"HTTP_{reply.status}"
    return {
        "message": _text(error.get("message")) or _text(told) or _excerpt(reply),
        "code": _text(error.get("code")) or _text(whole.get("code")) or fallback,
        "status": reply.status,
        "request_id": _text(mapping(whole.get("metadata")).get("requestId")) or reply.headers.get("x-request-id"),
        "context": mapping(error.get("context")),
        "retry_after": _retry_after(reply, whole),
    }


def _retry_after(reply: Reply, body: Mapping[str, Any]) -> float | None:
    told = retry_after_of(reply.headers.get("retry-after"), time.time())
    if told is None and isinstance(body.get("retryAfter"), (int, float)):
        return float(body["retryAfter"])
    return told


def retry_after_of(header: str | None, now: float) -> float | None:
    """``Retry-After`` in seconds: a number of them, or an HTTP date."""
    text = (header or "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Any, header: str | None) -> int | None:
    if isinstance(value, int):
        return value
    return int(header) if header is not None and re.fullmatch(r"\d{1,18}", header) else None


def _excerpt(reply: Reply) -> str:
    said = reply.text.strip()[:EXCERPT_CHARS_MAX]
    return f"The gateway answered {reply.status}" + (f": {said}" if said else "")
