# Made by scripts/make_sync.py from _async/webhooks.py: change that file.
"""What is told to receivers outside, and what could not be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import List

from .._settings import path
from .._wire import merged
from ..types import DeadLetter, WebhookEndpoint, WebhookEvent, WebhookEventDetail, WebhookTest
from .transport import Call, Transport

WEBHOOKS = "/api/v1/admin/webhooks"


class Webhooks:
    """What is told to receivers outside, and what could not be."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
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
        return [event for event in events]

    def iterate(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
        max: int | None = None,
    ) -> Iterator[WebhookEvent]:
        """As `list`, a page at a time."""
        call = Call("GET", WEBHOOKS + "/events", query={"tenant": tenant, "kind": kind, "state": state})
        return self._transport.pages(WebhookEvent, call, page_size=page_size, cursor=cursor, max=max)

    def get(self, event_id: str) -> WebhookEventDetail:
        """One event with its deliveries."""
        return self._transport.one(WebhookEventDetail, Call("GET", WEBHOOKS + path("/events/{}", event_id)))

    def redeliver(self, event_id: str, *, endpoint: str | None = None) -> WebhookEventDetail:
        """Delivers an event again, under the same id: receivers that saw it know it. To all endpoints, or to one."""
        at = WEBHOOKS + path("/events/{}/redeliver", event_id)
        call = Call("POST", at, body=merged(None, {"endpoint": endpoint}), repeatable=True)
        return self._transport.one(WebhookEventDetail, call)

    def dead_letters(
        self, *, tenant: str | None = None, page_size: int | None = None, max: int | None = None
    ) -> List[DeadLetter]:
        """Deliveries that were given up."""
        call = Call("GET", WEBHOOKS + "/dead-letters", query={"tenant": tenant})
        return [letter for letter in self._transport.pages(DeadLetter, call, page_size=page_size, max=max)]

    def endpoints(self) -> List[WebhookEndpoint]:
        """The receivers, without their secrets."""
        told = self._transport.pages(WebhookEndpoint, Call("GET", WEBHOOKS + "/endpoints"))
        return [endpoint for endpoint in told]

    def test(self, endpoint_id: str) -> WebhookTest:
        """Sends a receiver a test event."""
        return self._transport.one(WebhookTest, Call("POST", WEBHOOKS + path("/endpoints/{}/test", endpoint_id)))
