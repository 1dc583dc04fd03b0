"""The tenant's own MCP servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, List

from .._refusals import mapping
from .._settings import path
from .._wire import decode, merged
from ..errors import DeploymentFailedError, DeploymentTimeoutError, MCPConfigError, ValidationError
from ..types import DeploymentStatus, ServerInfo, Tool
from .http import sleep
from .tools import Tools
from .transport import Call, Transport

WAIT_S = 300.0
POLL_S = 2.0
POLL_S_MAX = 10.0
#: How fast the pauses between questions grow.
POLL_GROWTH = 1.5

READY = frozenset({"running", "ready"})
OVER = frozenset({"failed", "stopped", "removing"})

Progress = Callable[[DeploymentStatus], None]


class MCPServer:
    """One MCP server of the tenant."""

    def __init__(self, name: str, tools: Tools) -> None:
        self.name = name
        self._tools = tools

    def __repr__(self) -> str:
        return f"<MCPServer {self.name}>"

    # <async>
    def __await__(self) -> Generator[Any, None, MCPServer]:
        """Itself: ``await mcp.get(name)`` and ``mcp.get(name)`` are the same."""
        return self
        yield  # Makes this a generator.

    # </async>
    async def call(self, tool: str, parameters: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """Calls one of its tools for its result."""
        return await self._tools.call(f"{self.name}.{tool}", parameters, integration=self.name, timeout=timeout)

    async def list_tools(self) -> List[Tool]:
        """Its tools."""
        return await self._tools.list(integration=self.name)


class Deployment:
    """A custom server on its way up."""

    def __init__(self, name: str, told: DeploymentStatus, mcp: MCP) -> None:
        self.name = name
        self.deployment_id = told.deployment_id
        self._told = told
        self._mcp = mcp

    def __repr__(self) -> str:
        return f"<Deployment {self.deployment_id} of {self.name}: {self.status}>"

    @property
    def id(self) -> str:
        return self.deployment_id

    @property
    def status(self) -> str:
        """As it was last told: pending, building, deploying, running, failed, stopped or removing."""
        return self._told.status

    @property
    def estimated_time(self) -> str | None:
        return self._told.estimated_time

    @property
    def message(self) -> str | None:
        return self._told.message

    async def get_status(self) -> DeploymentStatus:
        """Asks how far it is."""
        self._told = await self._mcp.get_deployment_status(self.deployment_id)
        return self._told

    async def refresh(self) -> Deployment:
        """As `get_status`, for the deployment."""
        await self.get_status()
        return self

    async def wait_until_ready(
        self, *, timeout: float = WAIT_S, poll_interval: float = POLL_S, on_progress: Progress | None = None
    ) -> DeploymentStatus:
        """Waits until its tools can be called. Raises `DeploymentFailedError` and `DeploymentTimeoutError`."""
        self._told = await self._mcp.wait_for_deployment(
            self.deployment_id, timeout=timeout, poll_interval=poll_interval, on_progress=on_progress
        )
        return self._told


class MCP:
    """The tenant's own MCP servers."""

    def __init__(self, transport: Transport, tools: Tools) -> None:
        self._transport = transport
        self._tools = tools

    def get(self, name: str) -> MCPServer:
        """A server by its name. The gateway is first asked when one of its tools is."""
        if not isinstance(name, str) or not name:
            raise ValidationError("A server's `name` is empty", field="name")
        return MCPServer(name, self._tools)

    async def add(
        self,
        server: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        source: Mapping[str, Any] | None = None,
        category: str | None = None,
        description: str | None = None,
        env: Mapping[str, str] | None = None,
        **further: Any,
    ) -> Deployment:
        """Brings a server up. ``server`` may hold the arguments instead."""
        named = {"name": name, "source": source, "category": category, "description": description, "env": env}
        body = merged(server, {**named, **further})
        told = await self._transport.one(DeploymentStatus, Call("POST", "/api/v1/mcp/add", body=body))
        return Deployment(str(body.get("name")), told, self)

    async def add_from_config(self, config: Mapping[str, Any]) -> List[Deployment]:
        """Brings up every server of a standard ``mcpServers`` file, one after the other."""
        servers = mapping(mapping(config).get("mcpServers"))
        if not servers:
            raise MCPConfigError("`mcpServers` names no server", field="mcpServers", code="INVALID_MCP_CONFIG")
        # All are understood before the first is brought up.
        sources = [(name, _source(name, mapping(entry))) for name, entry in servers.items()]
        return [await self.add(name=name, source=source, category="custom") for name, source in sources]

    async def list(self) -> List[ServerInfo]:
        """The tenant's servers."""
        answer = await self._transport.request(Call("GET", "/api/v1/mcp/custom"))
        servers = mapping(answer.data).get("servers", answer.data)
        return [decode(ServerInfo, server) for server in servers or ()]

    async def remove(self, name: str) -> None:
        """Takes a server down."""
        await self._transport.request(Call("DELETE", path("/api/v1/mcp/custom/{}", name)))

    async def get_deployment_status(self, deployment_id: str) -> DeploymentStatus:
        """How far a deployment is."""
        call = Call("GET", path("/api/v1/mcp/deployments/{}", deployment_id))
        return await self._transport.one(DeploymentStatus, call)

    async def wait_for_deployment(
        self,
        deployment_id: str,
        *,
        timeout: float = WAIT_S,
        poll_interval: float = POLL_S,
        on_progress: Progress | None = None,
    ) -> DeploymentStatus:
        """Waits until a deployment's tools can be called: ``timeout`` seconds in all."""
        until = time.monotonic() + timeout
        pause = poll_interval
        while True:
            told = await self.get_deployment_status(deployment_id)
            if on_progress is not None:
                on_progress(told)
            if told.status in READY:
                return told
            if told.status in OVER:
                raise DeploymentFailedError(deployment_id, told.error or f"its status is {told.status}")
            left = until - time.monotonic()
            if left <= 0:
                raise DeploymentTimeoutError(deployment_id, timeout)
            await sleep(min(pause, left))
            pause = min(pause * POLL_GROWTH, POLL_S_MAX)


def _source(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(entry.get("url"), str):
        return {**entry, "type": "http"}
    if isinstance(entry.get("command"), str):
        return {**entry, "type": "stdio"}
    message = f"`mcpServers.{name}` has neither a `url` nor a `command`"
    raise MCPConfigError(message, field=f"mcpServers.{name}", code="INVALID_MCP_CONFIG")
