"""Our own Python SDK against the real gateway: a line per call. `live.py awaited` or `live.py plain`."""

import asyncio
import inspect
import os
import sys

import bulkhead

URL, KEY = os.environ["GATEWAY"], os.environ["KEY"]
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
        print(f"{what}: {type(error).__name__} {error.status} {error.code}{named}")


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
tell("select", lambda: client.tools.select("query"))
tell("list", lambda: client.tools.list())
tell("tool", lambda: client.tools.get("github.createPullRequest"))
tell("invoke", lambda: client.tools.invoke("github.createPullRequest", {"repo": "acme/app"}))
tell("categories", lambda: client.categories.list())
tell("add", lambda: client.mcp.add(name="own", source=SOURCE, category="custom"))
tell("servers", lambda: client.mcp.list())
tell("call", lambda: client.mcp.get("own").call("run"))
tell("remove", lambda: client.mcp.remove("own"))
tell("oauth", lambda: client.oauth.configure("github", CONFIG))
tell("integrations", lambda: client.tenants.list_integrations())
tell("no key", lambda: CLIENT(URL).audit.list())
tell("unknown key", lambda: CLIENT(URL, api_key="nobody").audit.list())
tell("another tenant", lambda: CLIENT(URL, api_key=KEY, tenant_id="beta-corp").audit.list())
tell("bad filter", lambda: client.audit.list(since="yesterday"))
