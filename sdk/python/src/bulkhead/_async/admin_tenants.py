"""The tenants of the gateway, and their keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime
from typing import Any, List

from .._refusals import mapping
from .._settings import path
from .._wire import merged
from ..errors import BulkheadError, ValidationError
from ..types import ApiKey, CreatedApiKey, CreatedTenant, Tenant, TenantMetrics, UsageReport, WebhookEventDetail
from .transport import Call, Transport

TENANTS = "/api/v1/admin/tenants"


class AdminTenants:
    """The tenants of the gateway."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        #: The keys of a tenant.
        self.api_keys = ApiKeys(transport)

    async def create(self, tenant: Mapping[str, Any] | None = None, **named: Any) -> CreatedTenant:
        """Makes a tenant of ``id``, ``name``, ``email``, ``plan``, ``hostnames``, ``limits``, ``features``, ``security``: by
        name, or in a mapping; once, also when the call is repeated. The answer holds its key, this once."""
        return await self._transport.one(CreatedTenant, Call("POST", TENANTS, body=merged(tenant, named), repeatable=True))

    async def get(self, tenant_id: str) -> Tenant:
        """A tenant and what it used this month."""
        return await self._transport.one(Tenant, Call("GET", _at(tenant_id)))

    async def list(
        self, *, page_size: int | None = None, cursor: str | None = None, max: int | None = None
    ) -> List[Tenant]:
        """All tenants; `iterate` reads them as they are wanted."""
        return [tenant async for tenant in self.iterate(page_size=page_size, cursor=cursor, max=max)]

    def iterate(
        self, *, page_size: int | None = None, cursor: str | None = None, max: int | None = None
    ) -> AsyncIterator[Tenant]:
        """All tenants, a page at a time."""
        return self._transport.pages(Tenant, Call("GET", TENANTS), page_size=page_size, cursor=cursor, max=max)

    async def update(self, tenant_id: str, changes: Mapping[str, Any] | None = None, **named: Any) -> Tenant:
        """Changes what is named, deeply, and leaves the rest. None in the mapping takes a value away."""
        return await self._transport.one(Tenant, Call("PATCH", _at(tenant_id), body=merged(changes, named)))

    async def suspend(self, tenant_id: str) -> Tenant:
        """Refuses the tenant's calls until it is resumed."""
        return await self._transport.one(Tenant, Call("POST", _at(tenant_id) + "/suspend", repeatable=True))

    async def resume(self, tenant_id: str) -> Tenant:
        """Accepts the tenant's calls again."""
        return await self._transport.one(Tenant, Call("POST", _at(tenant_id) + "/resume", repeatable=True))

    async def delete(self, tenant_id: str, *, confirm: bool = False) -> None:
        """Deletes a tenant for good: its data keys are destroyed, its evidence is kept."""
        if confirm is not True:
            raise ValidationError("Deleting a tenant cannot be undone: pass `confirm=True`", field="confirm")
        await self._transport.request(Call("DELETE", _at(tenant_id), query={"confirm": True}))

    async def rotate_api_key(self, tenant_id: str, *, grace_period_seconds: int | None = None) -> str:
        """Replaces the tenant's key, once, also when the call is repeated, and tells the new one, this once. The old one
        still works for the grace period: 0."""
        body = merged(None, {"grace_period_seconds": grace_period_seconds})
        call = Call("POST", _at(tenant_id) + "/rotate-api-key", body=body, repeatable=True)
        answer = await self._transport.request(call)
        key = mapping(answer.data).get("apiKey")
        if not isinstance(key, str):
            raise BulkheadError("The gateway answered without a key", code="BAD_ANSWER")
        return key

    async def get_metrics(
        self, tenant_id: str, *, start_date: str | date | None = None, end_date: str | date | None = None
    ) -> TenantMetrics:
        """Counts from one day to another, ``YYYY-MM-DD`` in UTC, both included."""
        query = {"startDate": start_date, "endDate": end_date}
        return await self._transport.one(TenantMetrics, Call("GET", _at(tenant_id) + "/metrics", query=query))

    async def get_usage(self, tenant_id: str, *, month: str | None = None) -> UsageReport:
        """The usage of a month, ``YYYY-MM`` in UTC, and what it costs; of the current one unless told otherwise."""
        return await self._transport.one(UsageReport, Call("GET", _at(tenant_id) + "/usage", query={"month": month}))

    async def close_month(self, tenant_id: str, month: str) -> WebhookEventDetail:
        """Closes a month that is over, which tells the billing webhooks: once, however often it is asked for."""
        call = Call("POST", _at(tenant_id) + "/billing/close", body={"month": month}, repeatable=True)
        return await self._transport.one(WebhookEventDetail, call)


class ApiKeys:
    """The named keys of a tenant: each opens every door that its scopes allow."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        tenant_id: str,
        *,
        name: str,
        scopes: List[str] | None = None,
        expires_at: datetime | str | None = None,
        rate_limit: Mapping[str, int] | None = None,
    ) -> CreatedApiKey:
        """Makes a key, once, also when the call is repeated. The answer holds it, this once."""
        named = {"name": name, "scopes": scopes, "expires_at": expires_at, "rate_limit": rate_limit}
        return await self._transport.one(
            CreatedApiKey, Call("POST", _at(tenant_id) + "/api-keys", body=merged(None, named), repeatable=True)
        )

    async def list(
        self, tenant_id: str, *, page_size: int | None = None, cursor: str | None = None, max: int | None = None
    ) -> List[ApiKey]:
        """The tenant's keys, without the keys themselves."""
        return [key async for key in self.iterate(tenant_id, page_size=page_size, cursor=cursor, max=max)]

    def iterate(
        self, tenant_id: str, *, page_size: int | None = None, cursor: str | None = None, max: int | None = None
    ) -> AsyncIterator[ApiKey]:
        """As `list`, a page at a time."""
        call = Call("GET", _at(tenant_id) + "/api-keys")
        return self._transport.pages(ApiKey, call, page_size=page_size, cursor=cursor, max=max)

    async def delete(self, tenant_id: str, key_id: str) -> None:
        """Ends a key at once."""
        await self._transport.request(Call("DELETE", _at(tenant_id) + path("/api-keys/{}", key_id)))


def _at(tenant_id: str) -> str:
    return TENANTS + path("/{}", tenant_id)
