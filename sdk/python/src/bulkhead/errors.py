"""What can go wrong, as classes with stable codes. No error carries a key, a request body or a header."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any


class BulkheadError(Exception):
    """Everything this package raises."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        request_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        #: Stable and made for programs, such as ``TENANT_NOT_FOUND``.
        self.code = code
        #: The HTTP status, where there was an answer.
        self.status = status
        #: Names this request in the gateway's logs.
        self.request_id = request_id
        #: What the gateway told about the reason.
        self.context: Mapping[str, Any] = context or {}

    @property
    def status_code(self) -> int | None:
        """The status under the name that clients of Connectors know."""
        return self.status

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


ConnectorsError = BulkheadError


class ValidationError(BulkheadError):
    """An argument or an environment variable is missing or wrong; or the gateway said so (400, 422)."""

    def __init__(self, message: str, *, field: str | None = None, code: str = "VALIDATION_ERROR", **facts: Any) -> None:
        super().__init__(message, code=code, **facts)
        #: The argument or field that is wrong, where known.
        self.field = field


class NetworkError(BulkheadError):
    """No answer came: the connection failed, or broke before the answer was complete."""

    def __init__(self, message: str, *, url: str, never_sent: bool) -> None:
        super().__init__(message, code="NETWORK_ERROR")
        #: What was called, without its query.
        self.url = url
        #: True when the request certainly never left: such a call is repeated whatever it does.
        self.never_sent = never_sent


class TimeoutError(BulkheadError, builtins.TimeoutError):
    """One attempt took longer than ``timeout``. It is a built-in ``TimeoutError`` too."""

    def __init__(self, *, url: str, timeout: float) -> None:
        super().__init__(f"{url} did not answer within {timeout:g} s", code="TIMEOUT")
        self.url = url
        #: Seconds an attempt may take.
        self.timeout = timeout


class HTTPError(BulkheadError):
    """The gateway answered with an error. Its subclasses say which."""

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        #: Seconds after which the gateway invites another attempt.
        self.retry_after = retry_after


class AuthenticationError(HTTPError):
    """401: no key, an unknown one, or one of the wrong kind."""


class PermissionDeniedError(HTTPError):
    """403: the key is good, and may not do this (``FEATURE_DISABLED``, ``IP_NOT_ALLOWED``, …)."""


class QuotaExceededError(PermissionDeniedError):
    """A quota of the tenant is used up (``QUOTA_EXCEEDED``)."""

    @property
    def used(self) -> int | None:
        """How much is used."""
        return self.context.get("used")

    @property
    def limit(self) -> int | None:
        """How much there is."""
        return self.context.get("limit")


class NotFoundError(HTTPError):
    """404: there is no such thing, or it is not this tenant's."""


class ToolNotFoundError(NotFoundError):
    """No tool has this id (``TOOL_NOT_FOUND``)."""

    @property
    def suggestions(self) -> list[str]:
        """Ids that look alike."""
        return list(self.context.get("suggestions") or [])


class ServerNotFoundError(NotFoundError):
    """No server has this name (``SERVER_NOT_FOUND``)."""

    @property
    def available_servers(self) -> list[str]:
        """The names there are."""
        return list(self.context.get("availableServers") or [])


class ConflictError(HTTPError):
    """409: it exists already, or is in a state that does not allow this."""


class RateLimitError(HTTPError):
    """429: too many requests."""

    def __init__(self, message: str, *, limit: int | None = None, remaining: int | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        #: Requests that the window admits.
        self.limit = limit
        #: Requests left in it.
        self.remaining = remaining


class NotImplementedError(HTTPError, builtins.NotImplementedError):
    """501: the gateway knows this function and does not serve it yet. A built-in ``NotImplementedError`` too."""


class ServerError(HTTPError):
    """5xx: the gateway, or what it depends on, failed."""


class MCPToolError(BulkheadError):
    """A tool was reached and told that it failed."""

    def __init__(self, tool_id: str, message: str, details: Any = None) -> None:
        super().__init__(message, code="TOOL_FAILED")
        self.tool_id = tool_id
        self.details = details


ToolInvocationError = MCPToolError


class MCPConfigError(ValidationError):
    """An ``mcpServers`` file cannot be read as one."""


class DeploymentError(BulkheadError):
    """A custom server did not come up."""

    def __init__(self, deployment_id: str, message: str, *, code: str) -> None:
        super().__init__(message, code=code)
        self.deployment_id = deployment_id


class DeploymentTimeoutError(DeploymentError):
    """It did not come up in time; it may still do."""

    def __init__(self, deployment_id: str, timeout: float) -> None:
        message = f"Deployment {deployment_id} was not ready within {timeout:g} s"
        super().__init__(deployment_id, message, code="DEPLOYMENT_TIMEOUT")
        #: Seconds that were waited.
        self.timeout = timeout


class DeploymentFailedError(DeploymentError):
    """It failed, was stopped or is being removed."""

    def __init__(self, deployment_id: str, reason: str | None = None) -> None:
        message = f"Deployment {deployment_id} failed: {reason or 'no reason was told'}"
        super().__init__(deployment_id, message, code="DEPLOYMENT_FAILED")
        self.reason = reason
