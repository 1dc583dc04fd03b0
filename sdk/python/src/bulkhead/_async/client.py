"""A tenant's client."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import httpx

from .._settings import environment
from .._version import VERSION
from ..errors import BulkheadError
from ..types import Health, Readiness
from .audit import Audit
from .mcp import MCP
from .oauth import OAuth
from .tenants import Tenants
from .tools import Categories, Tools
from .transport import Call, Transport
from .usage import Usage


class Bulkhead:
    """A tenant's client. Its methods are awaited; `SyncBulkhead` has the same ones without.

    What is left out comes from ``BULKHEAD_BASE_URL``, ``BULKHEAD_API_KEY`` and ``BULKHEAD_TENANT_ID`` (or ``CONNECTORS_…``).

    :param base_url: where the gateway is, such as ``https://gateway.example.com``
    :param tenant_id: confirms whose key it is
    :param api_key: the tenant's key
    :param timeout: seconds that one attempt may take: 30
    :param max_retries: further attempts of a call that may be repeated: 3
    :param headers: headers of every request
    :param http_client: an httpx client of yours; it is not closed with this one
    """

    def __init__(
        self,
        base_url: str | None = None,
        tenant_id: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        tenant = tenant_id or environment("BULKHEAD_TENANT_ID", "CONNECTORS_TENANT_ID")
        transport = Transport(
            base_url=base_url,
            key=environment("BULKHEAD_API_KEY", "CONNECTORS_API_KEY") if api_key is None else api_key,
            tenant_id=tenant,
            timeout=timeout,
            max_retries=max_retries,
            headers=headers,
            http_client=http_client,
            user_agent=f"bulkhead-python/{VERSION}",
        )
        self._transport = transport
        self.tenant_id = tenant
        self.tools = Tools(transport)
        self.categories = Categories(transport)
        self.mcp = MCP(transport, self.tools)
        self.oauth = OAuth(transport, tenant)
        self.tenants = Tenants(transport, tenant)
        self.usage = Usage(transport)
        self.audit = Audit(transport)

    def __repr__(self) -> str:
        return f"<Bulkhead at {self.base_url} for {self.tenant_id or 'the tenant of its key'}>"

    @property
    def base_url(self) -> str:
        """Without a slash at its end."""
        return self._transport.base_url

    async def health(self) -> Health:
        """Whether the gateway runs."""
        return await self._transport.one(Health, Call("GET", "/health"))

    async def ready(self) -> Readiness:
        """Whether the gateway would accept calls; ``checks`` names each thing it depends on."""
        call = Call("GET", "/ready", query={"verbose": True}, also_good=(503,))
        return await self._transport.one(Readiness, call)

    async def test_connection(self) -> bool:
        """True when the gateway answers."""
        try:
            await self.health()
        except BulkheadError:
            return False
        return True

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Bulkhead:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
