# Made by scripts/make_sync.py from _async/tenants.py: change that file.
"""The tenant itself: what it is connected to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, List

from .._refusals import mapping
from .._settings import path, required_tenant
from .transport import Call, Transport


class Tenants:
    """The tenant itself: what it is connected to."""

    def __init__(self, transport: Transport, tenant_id: str | None) -> None:
        self._transport = transport
        self._tenant_id = tenant_id

    def list_integrations(self) -> List[str]:
        """The integrations that have an OAuth application."""
        call = Call("GET", path("/api/v1/tenants/{}/integrations", required_tenant(self._tenant_id)))
        answer = self._transport.request(call)
        return list(mapping(answer.data).get("integrations", answer.data) or ())

    def status(self) -> Mapping[str, Any]:
        """How each connection stands."""
        call = Call("GET", path("/api/v1/tenants/{}/status", required_tenant(self._tenant_id)))
        return mapping((self._transport.request(call)).data)
