# Made by scripts/make_sync.py from _async/tools.py: change that file.
"""Finding and calling tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, List

from .._refusals import mapping
from .._settings import path
from .._wire import decode, merged
from ..errors import BulkheadError, MCPToolError, ValidationError
from ..types import Category, Tool, ToolResult
from .transport import Call, Transport


class Tools:
    """Finding and calling tools."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def select(
        self,
        query: str,
        options: Mapping[str, Any] | None = None,
        *,
        max_tools: int | None = None,
        category: str | None = None,
        categories: Sequence[str] | None = None,
        token_budget: int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> List[Tool]:
        """The tools that fit a task best, the best first. ``options`` may hold the further arguments instead."""
        if not isinstance(query, str) or not query.strip():
            raise ValidationError("`query` says in words what the tools are for, and is empty", field="query")
        named = {"max_tools": max_tools, "categories": categories, "token_budget": token_budget, "context": context}
        asked = merged(options, {**named, "category": category})
        one = asked.pop("category", None)
        if one is not None:
            asked.setdefault("categories", [one])
        call = Call("POST", "/api/v1/tools/select", body={"query": query, **asked}, repeatable=True)
        answer = self._transport.request(call)
        return _tools(answer.body.get("tools", mapping(answer.data).get("tools", answer.data)))

    def list(
        self,
        filters: Mapping[str, Any] | None = None,
        *,
        category: str | None = None,
        integration: str | None = None,
        search: str | None = None,
        page: int | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> List[Tool]:
        """The tools there are."""
        named = {"category": category, "integration": integration, "search": search}
        query = merged(filters, {**named, "page": page, "limit": limit, "offset": offset})
        answer = self._transport.request(Call("GET", "/api/v1/tools/list", query=query))
        return _tools(mapping(answer.data).get("tools", answer.data))

    def get(self, tool_id: str) -> Tool:
        """One tool."""
        return self._transport.one(Tool, Call("GET", path("/api/v1/tools/{}", tool_id)))

    def get_categories(self) -> List[Category]:
        """What kinds of tools there are."""
        answer = self._transport.request(Call("GET", "/api/v1/categories"))
        return [decode(Category, item) for item in _items(mapping(answer.data).get("categories", answer.data))]

    def invoke(
        self,
        tool_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        integration: str | None = None,
        timeout: float | None = None,
    ) -> ToolResult:
        """Calls a tool and tells how it went. It is made again only when it certainly was not begun."""
        if not isinstance(tool_id, str) or not tool_id:
            raise ValidationError("`tool_id` is empty", field="tool_id")
        body = {
            "toolId": tool_id,
            "integration": integration or tool_id.split(".", 1)[0],
            "parameters": parameters or {},
        }
        answer = self._transport.request(Call("POST", "/api/v1/tools/invoke", body=body, timeout=timeout))
        return ToolResult(success=True, data=answer.data, metadata=answer.metadata, raw=answer.body)

    def call(
        self,
        tool_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        integration: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Calls a tool for its result alone."""
        result = self.invoke(tool_id, parameters, integration=integration, timeout=timeout)
        # A tool that was reached and failed says so in its own result, as MCP has it.
        if mapping(result.data).get("isError") is True:
            raise MCPToolError(tool_id, f"{tool_id} failed", mapping(result.data).get("content"))
        return result.data


class Categories:
    """What kinds of tools there are."""

    def __init__(self, transport: Transport) -> None:
        self._tools = Tools(transport)

    def list(self) -> List[Category]:
        """All of them."""
        return self._tools.get_categories()


def _items(value: Any) -> List[Any]:
    if not isinstance(value, list):
        raise BulkheadError("The gateway did not answer with a list", code="BAD_ANSWER")
    return value


def _tools(value: Any) -> List[Tool]:
    """A flat list, or the tiers of one."""
    tiers = mapping(value)
    flat = [tool for tier in ("tier1", "tier2", "tier3") for tool in tiers.get(tier, ())] if tiers else _items(value)
    return [decode(Tool, tool) for tool in flat]
