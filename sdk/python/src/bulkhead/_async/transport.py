"""One call: headers, attempts, envelope, pages."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx

from .._refusals import Reply, error_of, mapping
from .._retry import pause_before
from .._settings import base_url_of, header_value, retries_of, timeout_of
from .._wire import decode
from ..errors import BulkheadError, ValidationError
from ..types import Wire
from .http import Http, sleep

T = TypeVar("T", bound=Wire)


@dataclass(frozen=True)
class Call:
    """What is asked."""

    method: str
    #: Begins with a slash; made by `_settings.path`.
    path: str
    #: None leaves a parameter out.
    query: Mapping[str, Any] | None = None
    #: Sent as JSON.
    body: Mapping[str, Any] | None = None
    #: Whether it can be made twice and come to the same; decided by the method unless told.
    repeatable: bool | None = None
    #: Statuses beside 2xx whose body is the answer.
    also_good: Sequence[int] = ()
    #: Seconds that one attempt may take.
    timeout: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came back."""

    data: Any
    #: What the envelope says about itself, such as ``nextCursor``.
    metadata: Mapping[str, Any]
    #: The whole body.
    body: Mapping[str, Any]


class Transport:
    """What all parts of a client call through."""

    def __init__(
        self,
        *,
        base_url: str | None,
        key: str | None,
        tenant_id: str | None,
        timeout: float | None,
        max_retries: int | None,
        headers: Mapping[str, str] | None,
        http_client: httpx.AsyncClient | None,
        user_agent: str,
    ) -> None:
        self.base_url = base_url_of(base_url)
        self.timeout = timeout_of(timeout)
        self.max_retries = retries_of(max_retries)
        self._http = Http(http_client)
        self._headers = {"accept": "application/json", "user-agent": user_agent}
        for name, value in (headers or {}).items():
            self._headers[name.lower()] = header_value(f"headers.{name}", value)
        if key is not None:
            self._headers["authorization"] = "Bearer " + header_value("api_key", key)
        if tenant_id is not None:
            self._headers["x-tenant-id"] = header_value("tenant_id", tenant_id)

    def __repr__(self) -> str:
        return f"<Transport to {self.base_url}>"

    async def request(self, call: Call) -> Answer:
        """Makes the call, and makes it again where that is safe."""
        repeatable = call.method not in ("POST", "PATCH") if call.repeatable is None else call.repeatable
        headers, body = self._content(call)
        attempt = 0
        while True:
            try:
                return await self._attempt(call, headers, body)
            except BulkheadError as error:
                pause = pause_before(error, repeatable=repeatable, attempt=attempt) if attempt < self.max_retries else None
                if pause is None:
                    raise
            await sleep(pause)
            attempt += 1

    def _content(self, call: Call) -> tuple[dict[str, str], bytes | None]:
        headers = dict(self._headers)
        if call.method == "POST":
            # Made once: every attempt carries the same.
            headers["idempotency-key"] = secrets.token_hex(16)
        if call.body is None:
            return headers, None
        headers["content-type"] = "application/json"
        return headers, json.dumps(call.body, separators=(",", ":"), allow_nan=False).encode()

    async def _attempt(self, call: Call, headers: Mapping[str, str], body: bytes | None) -> Answer:
        timeout = self.timeout if call.timeout is None else timeout_of(call.timeout)
        url = self.base_url + call.path
        return _understood(call, url, await self._http.exchange(call.method, url, _pairs(call.query), headers, body, timeout))

    async def one(self, kind: type[T], call: Call) -> T:
        """The answer as a dataclass of `types.py`."""
        return decode(kind, (await self.request(call)).data)

    async def pages(
        self, kind: type[T], call: Call, *, page_size: int | None = None, cursor: str | None = None, max: int | None = None
    ) -> AsyncIterator[T]:
        """Every item of every page, read as they are wanted."""
        if max is not None and max < 0:
            raise ValidationError("`max` is a number, 0 or more", field="max")
        told = 0
        while max is None or told < max:
            query = {**(call.query or {}), "limit": page_size, "cursor": cursor}
            answer = await self.request(replace(call, query=query))
            if not isinstance(answer.data, list):
                raise BulkheadError("The gateway did not answer with a list", code="BAD_ANSWER")
            for item in answer.data:
                if max is not None and told >= max:
                    return
                told += 1
                yield decode(kind, item)
            following = answer.metadata.get("nextCursor")
            if not isinstance(following, str) or not following:
                return
            if following == cursor:
                raise BulkheadError("The gateway's list leads back to the page it came from", code="BAD_ANSWER")
            cursor = following

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


def _pairs(query: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if isinstance(value, bool):
            pairs.append((name, "true" if value else "false"))
        elif value is not None:
            pairs.append((name, str(value)))
    return pairs


def _understood(call: Call, url: str, reply: Reply) -> Answer:
    try:
        body = json.loads(reply.text) if reply.text.strip() else None
    except ValueError:
        body = None
    whole = mapping(body)
    if not (reply.good() or reply.status in call.also_good) or whole.get("success") is False:
        raise error_of(reply, body)
    if body is None and reply.text.strip():
        message = f"{url} did not answer in JSON: is `base_url` the gateway's?"
        raise ValidationError(message, field="base_url", code="NOT_JSON", status=reply.status)
    enveloped = whole.get("success") is True and "data" in whole
    return Answer(whole["data"] if enveloped else body, mapping(whole.get("metadata")), whole)
