"""Our own Python SDK against the real gateway: a line per call. `live.py awaited` or `live.py plain`."""

import asyncio
import inspect
import os
import sys

import bulkhead

URL, KEY, MCP = os.environ["GATEWAY"], os.environ["KEY"], os.environ["MCP"]
AWAITED = sys.argv[1] == "awaited"
CLIENT = bulkhead.Connectors if AWAITED else bulkhead.SyncConnectors

client = CLIENT(base_url=URL, tenant_id="acme-corp", api_key=KEY)


async def awaited(value):
    return await value


def settled(value):
    return asyncio.run(awaited(value)) if inspect.isawaitable(value) else value


def tell(what, call, shown=str):
    try:
        print(f"{what}: {shown(settled(call()))}")
    except bulkhead.BulkheadError as error:
        named = " named" if error.request_id else ""
        print(f"{what}: {type(error).__name__} {error.status or '-'} {error.code}{named}")



async def progress(deployment):
    told = await awaited(deployment.wait_until_ready()) if AWAITED else deployment.wait_until_ready()
    return f"{told.status} {told.tools_discovered} {told.progress_percent}"


def ready():
    """Adds a server anew, and waits for it as for one that takes its time."""
    settled(client.mcp.remove("own"))
    added = settled(client.mcp.add(name="own", source={"type": "http", "url": MCP}, category="custom"))
    return progress(added)


SOURCE = {"type": "github", "url": "https://github.com/acme/mcp-server"}
CONFIG = {
    "client_id": "client-id",
    "client_secret": "client-secret-16",
    "redirect_uri": "https://a/",
    "auth_endpoint": "https://b/",
    "token_endpoint": "https://c/",
}

tell("health", client.health, lambda told: told.status)
tell("ready", client.ready, lambda told: f"{told.status} {told.checks['store']}")
tell("connection", client.test_connection, lambda connected: str(connected).lower())
# What the programs before this one were denied is on the trail; nobody has made a tenant.
tell("audit", lambda: client.audit.list(action="tenant.created"), len)
tell("none", lambda: client.tools.list(), len)
tell("add", lambda: client.mcp.add(name="own", source={"type": "http", "url": MCP}, category="custom"), lambda told: told.status)
tell("again", lambda: client.mcp.add(name="own", source={"type": "http", "url": MCP}, category="custom"))
tell("to be built", lambda: client.mcp.add(name="built", source=SOURCE, category="custom"))
tell("ready", ready)
tell("servers", lambda: client.mcp.list(), lambda told: f"{told[0].name} {told[0].tool_count} {told[0].status}")
tell("list", lambda: client.tools.list(search="numbers"), lambda told: told[0].id)
tell("select", lambda: client.tools.select("open an issue", max_tools=1), lambda told: f"{len(told)} {told[0].id} {told[0].score:g}")
tell("tool", lambda: client.tools.get("own.add"), lambda told: ",".join(told.parameters["required"]))
tell("invoke", lambda: client.tools.invoke("own.add", {"a": 20, "b": 22}), lambda told: f"{told.data['content'][0]['text']} {told.metadata['isError']}".lower())
tell("call", lambda: client.mcp.get("own").call("add", {"a": 1, "b": 2}), lambda told: told["content"][0]["text"])
tell("its tools", lambda: client.mcp.get("own").list_tools(), len)
tell("broken", lambda: client.mcp.get("own").call("break_down"))
tell("categories", lambda: client.categories.list(), lambda told: f"{told[0].name} {told[0].tool_count}")
tell("no tool", lambda: client.tools.invoke("own.nothing"))
tell("remove", lambda: client.mcp.remove("own"), lambda _: "gone")
tell("gone", lambda: client.mcp.get("own").call("add", {"a": 1, "b": 2}))
tell("oauth", lambda: client.oauth.configure("github", CONFIG))
tell("integrations", lambda: client.tenants.list_integrations())
tell("no key", lambda: CLIENT(URL).audit.list())
tell("unknown key", lambda: CLIENT(URL, api_key="nobody").audit.list())
tell("another tenant", lambda: CLIENT(URL, api_key=KEY, tenant_id="beta-corp").audit.list())
tell("bad filter", lambda: client.audit.list(since="yesterday"))
