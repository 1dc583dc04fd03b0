"""Audit trails, the newest event first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, List

from .._settings import path
from .._wire import instant
from ..types import AuditEvent
from .transport import Call, Transport

When = datetime | str | None


class Audit:
    """The tenant's own audit trail, the newest event first."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, *, since: When = None, until: When = None, **filters: Any) -> List[AuditEvent]:
        """All events between two instants; ``action``, ``actor``, ``object``, ``result``, ``page_size``, ``cursor``, ``max``."""
        return [event async for event in self.iterate(since=since, until=until, **filters)]

    def iterate(self, *, since: When = None, until: When = None, **filters: Any) -> AsyncIterator[AuditEvent]:
        """As `list`, read as they are wanted."""
        return _trail(self._transport, "/api/v1/audit", since, until, filters)


class AdminAudit:
    """The tenants' audit trails, the newest event first."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(
        self, tenant_id: str, *, since: When = None, until: When = None, **filters: Any
    ) -> List[AuditEvent]:
        """All events between two instants; ``action``, ``actor``, ``object``, ``result``, ``page_size``, ``cursor``, ``max``."""
        return [event async for event in self.iterate(tenant_id, since=since, until=until, **filters)]

    def iterate(
        self, tenant_id: str, *, since: When = None, until: When = None, **filters: Any
    ) -> AsyncIterator[AuditEvent]:
        """As `list`, read as they are wanted."""
        at = path("/api/v1/admin/tenants/{}/audit", tenant_id)
        return _trail(self._transport, at, since, until, filters)


def _trail(
    transport: Transport, at: str, since: When, until: When, filters: dict[str, Any]
) -> AsyncIterator[AuditEvent]:
    paging = {name: filters.pop(name) for name in ("page_size", "cursor", "max") if name in filters}
    query = {**filters, "from": instant(since), "to": instant(until)}
    return transport.pages(AuditEvent, Call("GET", at, query=query), **paging)
