# Made by scripts/make_sync.py from _async/admin_oauth.py: change that file.
"""Credentials that the gateway uses for tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._settings import path
from .._wire import merged
from ..types import OAuthCredentialsInfo
from .transport import Call, Transport


class AdminOAuth:
    """Credentials that the gateway uses for tenants."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def store_credentials(
        self, tenant_id: str, integration: str, credentials: Mapping[str, Any] | None = None, **named: Any
    ) -> OAuthCredentialsInfo:
        """Stores a tenant's tokens for an integration, in place of older ones: ``access_token``, ``refresh_token``,
        ``expires_at``, ``scopes``, ``token_type``, by name or in a mapping."""
        call = Call("PUT", _at(tenant_id, integration), body=merged(credentials, named))
        return self._transport.one(OAuthCredentialsInfo, call)

    def get_credentials(self, tenant_id: str, integration: str) -> OAuthCredentialsInfo:
        """What is stored, without the tokens."""
        return self._transport.one(OAuthCredentialsInfo, Call("GET", _at(tenant_id, integration)))

    def delete_credentials(self, tenant_id: str, integration: str) -> None:
        """Forgets a tenant's tokens for an integration."""
        self._transport.request(Call("DELETE", _at(tenant_id, integration)))


def _at(tenant_id: str, integration: str) -> str:
    return path("/api/v1/admin/tenants/{}/oauth/{}/credentials", tenant_id, integration)
