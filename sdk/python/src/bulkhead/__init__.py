"""The client of a Bulkhead gateway.

`Bulkhead` (also `Connectors`) is a tenant's client and `AdminAPI` the operator's; their methods are awaited. `SyncBulkhead`
and `SyncAdminAPI` have the same methods without.
"""

from . import types
from ._async.admin import AdminAPI
from ._async.client import Bulkhead
from ._sync.admin import SyncAdminAPI
from ._sync.client import SyncBulkhead
from ._version import VERSION as __version__
from .errors import (
    AuthenticationError,
    BulkheadError,
    ConflictError,
    ConnectorsError,
    DeploymentError,
    DeploymentFailedError,
    DeploymentTimeoutError,
    HTTPError,
    MCPConfigError,
    MCPToolError,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    ServerNotFoundError,
    ToolInvocationError,
    ToolNotFoundError,
    ValidationError,
)

# Not in `__all__`: a star import would put them in place of the built-in classes they extend.
from .errors import NotImplementedError as NotImplementedError
from .errors import TimeoutError as TimeoutError

#: The names of these classes in code written for Connectors.
Connectors = Bulkhead
SyncConnectors = SyncBulkhead

__all__ = [
    "AdminAPI",
    "AuthenticationError",
    "Bulkhead",
    "BulkheadError",
    "ConflictError",
    "Connectors",
    "ConnectorsError",
    "DeploymentError",
    "DeploymentFailedError",
    "DeploymentTimeoutError",
    "HTTPError",
    "MCPConfigError",
    "MCPToolError",
    "NetworkError",
    "NotFoundError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "ServerError",
    "ServerNotFoundError",
    "SyncAdminAPI",
    "SyncBulkhead",
    "SyncConnectors",
    "ToolInvocationError",
    "ToolNotFoundError",
    "ValidationError",
    "__version__",
    "types",
]
