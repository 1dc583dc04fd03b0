"""What is told to receivers outside, and what could not be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, List

from .._refusals import mapping
from .._settings import path
from ..types import WebhookEvent, Wire
from .transport import Call, Transport

WEBHOOKS = "/api/v1/admin/webhooks"


class Webhooks:
    """What is told to receivers outside, and what could not be."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
        max: int | None = None,
    ) -> List[WebhookEvent]:
        """Events and how their deliveries stand."""
        events = self.iterate(tenant=tenant, kind=kind, state=state, page_size=page_size, cursor=cursor, max=max)
        return [event async for event in events]

    def iterate(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
        max: int | None = None,
    ) -> AsyncIterator[WebhookEvent]:
        """As `list`, a page at a time."""
        call = Call("GET", WEBHOOKS + "/events", query={"tenant": tenant, "kind": kind, "state": state})
        return self._transport.pages(WebhookEvent, call, page_size=page_size, cursor=cursor, max=max)

    async def get(self, event_id: str) -> WebhookEvent:
        """One event with its deliveries."""
        return await self._transport.one(WebhookEvent, Call("GET", WEBHOOKS + path("/events/{}", event_id)))

    async def redeliver(self, event_id: str) -> Mapping[str, Any]:
        """Delivers an event again, under the same id: receivers that saw it know it."""
        call = Call("POST", WEBHOOKS + path("/events/{}/redeliver", event_id), repeatable=True)
        return mapping((await self._transport.request(call)).data)

    async def dead_letters(self, *, page_size: int | None = None, max: int | None = None) -> List[WebhookEvent]:
        """Deliveries that were given up."""
        call = Call("GET", WEBHOOKS + "/dead-letters")
        return [event async for event in self._transport.pages(WebhookEvent, call, page_size=page_size, max=max)]

    async def endpoints(self) -> List[Mapping[str, Any]]:
        """The receivers, without their secrets."""
        told = self._transport.pages(Wire, Call("GET", WEBHOOKS + "/endpoints"))
        return [endpoint.raw async for endpoint in told]

    async def test(self, endpoint_id: str) -> Mapping[str, Any]:
        """Sends a receiver a test event."""
        call = Call("POST", WEBHOOKS + path("/endpoints/{}/test", endpoint_id))
        return mapping((await self._transport.request(call)).data)
