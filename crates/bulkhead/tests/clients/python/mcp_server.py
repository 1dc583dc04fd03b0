"""An MCP server of the official Python SDK, as a tenant would run one: `PORT`, how it answers (`MODE`), the token it wants (`TOKEN`)."""

import os
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

MODE = os.environ.get("MODE", "events")
server = MCPServer("tests")


@server.tool()
def add(a: int, b: int) -> str:
    """Adds two numbers"""
    return str(a + b)


@server.tool(name="createPullRequest")
def create_pull_request(
    repo: str, title: str = "", api_key: str = "", pin: Annotated[str, Field(json_schema_extra={"format": "password"})] = ""
) -> dict[str, Any]:
    """Proposes changes to a repository: what they are called, and what they are for"""
    return {"repo": repo, "title": title, "number": 12345678901234567890123, "exact": 1.50, "key": len(api_key + pin)}


@server.tool()
def create_issue(repo: str) -> str:
    """Opens an issue in a repository"""
    return f"issue in {repo}"


@server.tool()
def break_down() -> str:
    """Always fails"""
    raise ValueError("the tool broke down")


@server.tool()
def who_am_i(ctx: Context) -> str:
    """Tells what the caller has shown"""
    return ctx.request_context.request.headers.get("authorization", "nothing")


class WantsToken:
    """Refuses whoever does not show the token."""

    def __init__(self, app: Any, token: str) -> None:
        self.app, self.token = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        shown = dict(scope.get("headers") or []).get(b"authorization")
        if scope["type"] == "http" and shown != self.token:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Bearer")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send)


app: Any = server.streamable_http_app(json_response=MODE == "json", stateless_http=MODE == "stateless")
if "TOKEN" in os.environ:
    app = WantsToken(app, os.environ["TOKEN"])
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="error")
