# Made by scripts/make_sync.py from _async/oauth.py: change that file.
"""The tenant's OAuth applications and connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._refusals import mapping
from .._settings import path, required_tenant
from .._wire import merged
from ..types import OAuthAuthorization
from .transport import Call, Transport


class OAuth:
    """The tenant's OAuth applications and connections."""

    def __init__(self, transport: Transport, tenant_id: str | None) -> None:
        self._transport = transport
        self._tenant_id = tenant_id

    def authorize(self, integration: str) -> OAuthAuthorization:
        """Where a user agrees, and what the answer has to repeat."""
        call = Call("POST", path("/api/v1/oauth/authorize/{}", integration))
        return self._transport.one(OAuthAuthorization, call)

    def get_status(self, integration: str) -> Mapping[str, Any]:
        """How a connection stands."""
        return mapping((self._transport.request(Call("GET", self._at(integration)))).data)

    def revoke(self, integration: str) -> None:
        """Ends a connection."""
        self._transport.request(Call("DELETE", self._at(integration) + "/credentials"))

    def configure(
        self, integration: str, config: Mapping[str, Any] | None = None, **named: Any
    ) -> Mapping[str, Any]:
        """Sets the OAuth application of an integration: ``client_id``, ``client_secret``, ``redirect_uri``, ``auth_endpoint``,
        ``token_endpoint``, ``scopes``."""
        at = self._at(integration) + "/oauth-config"
        # Setting it twice comes to the same.
        call = Call("POST", at, body=merged(config, named), repeatable=True)
        return mapping((self._transport.request(call)).data)

    def get_config(self, integration: str) -> Mapping[str, Any]:
        """The OAuth application of an integration, without its secret."""
        return mapping((self._transport.request(Call("GET", self._at(integration) + "/oauth-config"))).data)

    def delete_config(self, integration: str) -> None:
        """Forgets the OAuth application of an integration."""
        self._transport.request(Call("DELETE", self._at(integration) + "/oauth-config"))

    def _at(self, integration: str) -> str:
        return path("/api/v1/tenants/{}/integrations/{}", required_tenant(self._tenant_id), integration)
