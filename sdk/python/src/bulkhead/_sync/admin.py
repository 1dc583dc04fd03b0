# Made by scripts/make_sync.py from _async/admin.py: change that file.
"""The operator's client."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import httpx

from .._settings import environment
from .._version import VERSION
from ..errors import ValidationError
from ..types import Health
from .admin_oauth import AdminOAuth
from .admin_tenants import AdminTenants
from .audit import AdminAudit
from .transport import Call, Transport
from .webhooks import Webhooks


class SyncAdminAPI:
    """The operator's client: tenants, their keys, limits and usage. `AdminAPI` has the same methods to be awaited. What is left out comes from ``BULKHEAD_BASE_URL`` and ``ADMIN_API_KEY``. Further arguments: `Bulkhead`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        admin_key: str | None = None,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        key = environment("ADMIN_API_KEY", "BULKHEAD_ADMIN_KEY") if admin_key is None else admin_key
        if key is None:
            raise ValidationError("No `admin_key` was given and ADMIN_API_KEY is not set", field="admin_key")
        transport = Transport(
            base_url=base_url,
            key=key,
            tenant_id=None,
            timeout=timeout,
            max_retries=max_retries,
            headers=headers,
            http_client=http_client,
            user_agent=f"bulkhead-admin-python/{VERSION}",
        )
        self._transport = transport
        self.tenants = AdminTenants(transport)
        self.oauth = AdminOAuth(transport)
        self.audit = AdminAudit(transport)
        self.webhooks = Webhooks(transport)

    def __repr__(self) -> str:
        return f"<SyncAdminAPI at {self.base_url}>"

    @property
    def base_url(self) -> str:
        """Without a slash at its end."""
        return self._transport.base_url

    def health(self) -> Health:
        """Whether the gateway runs."""
        return self._transport.one(Health, Call("GET", "/health"))

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self) -> SyncAdminAPI:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
