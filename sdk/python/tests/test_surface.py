from __future__ import annotations

import datetime
import inspect
import json
import runpy
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import bulkhead
from both import both
from conftest import KEY, Answer, enveloped, refused

AT = "/api/v1/admin/tenants"
UTC = datetime.timezone.utc
SOURCE = {"type": "github", "url": "https://github.com/a/b"}


def admin_calls(admin):
    """Every administrative call, and what it asks for."""
    tenants = admin.tenants
    range_ = {"start_date": "2026-11-01", "end_date": datetime.date(2026, 11, 2)}
    december = datetime.datetime(2026, 12, 31, tzinfo=UTC)
    # fmt: off
    return [
        (lambda: tenants.create(id="acme", name="ACME", limits={"requests_per_minute": 5}),
         f'POST {AT} {{"id": "acme", "name": "ACME", "limits": {{"requestsPerMinute": 5}}}}'),
        (lambda: tenants.create({"id": "acme", "limits": {"requestsPerMinute": 5, "max_storage_mb": None}}),
         f'POST {AT} {{"id": "acme", "limits": {{"requestsPerMinute": 5, "maxStorageMB": null}}}}'),
        (lambda: tenants.get("acme"), f"GET {AT}/acme"),
        (lambda: tenants.update("acme", security={"allowed_ips": ["203.0.113.0/24"]}),
         f'PATCH {AT}/acme {{"security": {{"allowedIPs": ["203.0.113.0/24"]}}}}'),
        (lambda: tenants.update("acme", {"email": None}), f'PATCH {AT}/acme {{"email": null}}'),
        (lambda: tenants.suspend("acme"), f"POST {AT}/acme/suspend"),
        (lambda: tenants.resume("acme"), f"POST {AT}/acme/resume"),
        (lambda: tenants.delete("acme", confirm=True), f"DELETE {AT}/acme?confirm=true"),
        (lambda: tenants.rotate_api_key("acme", grace_period_seconds=60),
         f'POST {AT}/acme/rotate-api-key {{"gracePeriodSeconds": 60}}'),
        (lambda: tenants.get_metrics("acme", **range_),
         f"GET {AT}/acme/metrics?startDate=2026-11-01&endDate=2026-11-02"),
        (lambda: tenants.get_usage("acme", month="2026-11"), f"GET {AT}/acme/usage?month=2026-11"),
        (lambda: tenants.api_keys.create("acme", name="ci", expires_at=december),
         f'POST {AT}/acme/api-keys {{"name": "ci", "expiresAt": "2026-12-31T00:00:00.000Z"}}'),
        (lambda: tenants.api_keys.delete("acme", "k/1"), f"DELETE {AT}/acme/api-keys/k%2F1"),
        (lambda: admin.oauth.store_credentials("acme", "github", access_token="t", expires_at=december, scopes=["repo"]),
         f'PUT {AT}/acme/oauth/github/credentials '
         '{"accessToken": "t", "expiresAt": "2026-12-31T00:00:00.000Z", "scopes": ["repo"]}'),
        (lambda: admin.oauth.get_credentials("acme", "github"), f"GET {AT}/acme/oauth/github/credentials"),
        (lambda: admin.oauth.delete_credentials("acme", "github"), f"DELETE {AT}/acme/oauth/github/credentials"),
        (lambda: admin.webhooks.get("e1"), "GET /api/v1/admin/webhooks/events/e1"),
        (lambda: admin.webhooks.redeliver("e1", endpoint="billing"),
         'POST /api/v1/admin/webhooks/events/e1/redeliver {"endpoint": "billing"}'),
        (lambda: tenants.close_month("acme", "2026-10"), f'POST {AT}/acme/billing/close {{"month": "2026-10"}}'),
        (lambda: admin.webhooks.test("billing"), "POST /api/v1/admin/webhooks/endpoints/billing/test"),
        (lambda: admin.health(), "GET /health"),
    ]
    # fmt: on


def admin_lists(admin):
    since = datetime.datetime(1970, 1, 1, tzinfo=UTC)
    return [
        (lambda: admin.tenants.list(page_size=7, cursor="c"), f"GET {AT}?limit=7&cursor=c"),
        (lambda: admin.tenants.api_keys.list("acme"), f"GET {AT}/acme/api-keys"),
        (
            lambda: admin.audit.list("acme", since=since, action="tenant.created", page_size=5),
            f"GET {AT}/acme/audit?action=tenant.created&from=1970-01-01T00%3A00%3A00.000Z&limit=5",
        ),
        (
            lambda: admin.webhooks.list(tenant="acme", state="dead"),
            "GET /api/v1/admin/webhooks/events?tenant=acme&state=dead",
        ),
        (lambda: admin.webhooks.dead_letters(), "GET /api/v1/admin/webhooks/dead-letters"),
        (lambda: admin.webhooks.endpoints(), "GET /api/v1/admin/webhooks/endpoints"),
    ]


def tenant_calls(client):
    # fmt: off
    invoked = '{"toolId": "own.run", "integration": "own", "parameters": {"x_y": 1}}'
    return [
        (lambda: client.tools.get("github.createPullRequest"), "GET /api/v1/tools/github.createPullRequest"),
        (lambda: client.tools.invoke("own.run", {"x_y": 1}), f"POST /api/v1/tools/invoke {invoked}"),
        (lambda: client.mcp.get("own").call("run", {"x_y": 1}), f"POST /api/v1/tools/invoke {invoked}"),
        (lambda: client.mcp.add(name="own", source=SOURCE, category="custom"),
         f'POST /api/v1/mcp/add {{"name": "own", "source": {json.dumps(SOURCE)}, "category": "custom"}}'),
        (lambda: client.mcp.add({"name": "own", "source": SOURCE}),
         f'POST /api/v1/mcp/add {{"name": "own", "source": {json.dumps(SOURCE)}}}'),
        (lambda: client.mcp.remove("own"), "DELETE /api/v1/mcp/custom/own"),
        (lambda: client.oauth.authorize("github"), "POST /api/v1/oauth/authorize/github"),
        (lambda: client.oauth.get_status("github"), "GET /api/v1/tenants/acme/integrations/github"),
        (lambda: client.oauth.configure("github", client_id="c"),
         'POST /api/v1/tenants/acme/integrations/github/oauth-config {"clientId": "c"}'),
        (lambda: client.tenants.status(), "GET /api/v1/tenants/acme/status"),
        (lambda: client.usage.get(month="2026-11"), "GET /api/v1/usage?month=2026-11"),
        (lambda: client.health(), "GET /health"),
        (lambda: client.ready(), "GET /ready?verbose=true"),
    ]
    # fmt: on


def tenant_lists(client):
    selected = '{"query": "query", "maxTools": 5, "categories": ["code"]}'
    return [
        (
            lambda: client.tools.select("query", max_tools=5, category="code"),
            f"POST /api/v1/tools/select {selected}",
        ),
        (
            lambda: client.tools.select("query", {"max_tools": 5, "categories": ["code"]}),
            f"POST /api/v1/tools/select {selected}",
        ),
        (lambda: client.tools.list(integration="github", page=2), "GET /api/v1/tools/list?integration=github&page=2"),
        (lambda: client.mcp.get("own").list_tools(), "GET /api/v1/tools/list?integration=own"),
        (lambda: client.categories.list(), "GET /api/v1/categories"),
        (lambda: client.mcp.list(), "GET /api/v1/mcp/custom"),
        (lambda: client.tenants.list_integrations(), "GET /api/v1/tenants/acme/integrations"),
        (lambda: client.audit.list(), "GET /api/v1/audit"),
    ]


@both
def test_every_call_asks_for_what_the_api_has(serve, kind):
    for answer, make in (({"id": "x", "apiKey": "k"}, (admin_calls, tenant_calls)), ([], (admin_lists, tenant_lists))):
        server = serve(enveloped(answer))
        admin, client = kind.admin(server.url + "/"), kind.client(server.url, tenant_id="acme")
        cases = make[0](admin) + make[1](client)
        for call, _ in cases:
            kind.run(call)
        assert [str(request) for request in server.requests] == [wanted for _, wanted in cases]
        assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.requests)
        assert {request.headers.get("x-tenant-id") for request in server.requests} == {None, "acme"}


@both
def test_answers_are_typed_and_keep_what_is_unknown(serve, kind):
    told = {
        "id": "acme",
        "limits": {"requestsPerMinute": 5, "maxStorageMB": 9},
        "security": {"allowedIPs": ["::1"]},
        "usage": {"apiCalls": 3, "tokens": {"total": 8}},
        "shoeSize": 46,
    }
    server = serve(enveloped(told))
    tenant = kind.run(lambda: kind.admin(server.url).tenants.get("acme"))
    assert (tenant.limits.requests_per_minute, tenant.limits.max_storage_mb) == (5, 9)
    assert (tenant.security.allowed_ips, tenant.usage.api_calls, tenant.plan) == (["::1"], 3, None)
    assert tenant.usage.tokens.total == 8
    assert tenant.raw["shoeSize"] == 46
    items = [{"description": "API calls", "amount": "0.10"}]
    server = serve(enveloped({"apiCalls": 2, "totalCost": "0.10", "lineItems": items}))
    usage = kind.run(lambda: kind.admin(server.url).tenants.get_usage("acme", month="2026-11"))
    assert f"${usage.total_cost}" == "$0.10" and usage.line_items[0].description == "API calls"
    server = serve(enveloped({"requests": {"total": 7}, "cost": {"total": "1.5"}}))
    metrics = kind.run(lambda: kind.client(server.url).usage.metrics(start_date="2026-11-01", end_date="2026-11-02"))
    assert (metrics.requests.total, metrics.cost.total, metrics.tools.invocations) == (7, "1.5", 0)


@both
def test_a_list_follows_the_cursor_to_its_end_and_an_iterator_no_further_than_it_is_read(serve, kind):
    def page(asked):
        cursor = parse_qs(urlsplit(asked.url).query).get("cursor", ["0"])[0]
        following = None if cursor == "3" else str(int(cursor) + 1)
        return enveloped([{"id": cursor + "a"}, {"id": cursor + "b"}], nextCursor=following)

    server = serve(page)
    admin = kind.admin(server.url)
    ids = [tenant.id for tenant in kind.run(lambda: admin.tenants.list())]
    assert ids == ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b"] and len(server.requests) == 4
    assert len(kind.run(lambda: admin.tenants.list(max=3))) == 3
    assert [tenant.id for tenant in kind.take(admin.tenants.iterate, 1)] == ["0a"]
    assert len(server.requests) == 7
    loop = serve(enveloped([{"id": "x"}], nextCursor="same"))
    assert kind.fails(bulkhead.BulkheadError, lambda: kind.admin(loop.url).tenants.list()).code == "BAD_ANSWER"


REFUSALS = [
    (400, "VALIDATION_ERROR", "ValidationError"),
    (401, "INVALID_API_KEY", "AuthenticationError"),
    (403, "FEATURE_DISABLED", "PermissionDeniedError"),
    (403, "QUOTA_EXCEEDED", "QuotaExceededError"),
    (404, "TENANT_NOT_FOUND", "NotFoundError"),
    (404, "TOOL_NOT_FOUND", "ToolNotFoundError"),
    (404, "SERVER_NOT_FOUND", "ServerNotFoundError"),
    (409, "TENANT_ALREADY_EXISTS", "ConflictError"),
    (413, "REQUEST_TOO_LARGE", "HTTPError"),
    (501, "NOT_IMPLEMENTED", "NotImplementedError"),
    (500, "INTERNAL_SERVER_ERROR", "ServerError"),
]


@both
@pytest.mark.parametrize(("status", "code", "name"), REFUSALS)
def test_every_refusal_is_its_own_class_with_its_code_its_context_and_its_request(serve, kind, status, code, name):
    context = {"field": "plan", "used": 10, "limit": 10, "suggestions": ["a.b"]}
    server = serve(refused(status, code, context))
    error = kind.fails(bulkhead.ConnectorsError, lambda: kind.client(server.url).tools.list())
    assert type(error) is getattr(bulkhead, name)
    assert (error.status, error.code, error.request_id, error.context) == (status, code, "r-2", context)
    assert getattr(error, "field", "plan") == "plan"
    assert isinstance(error, NotImplementedError) is (status == 501)
    if name == "QuotaExceededError":
        assert (error.used, error.limit) == (10, 10)
    if name == "ToolNotFoundError":
        assert error.suggestions == ["a.b"]


@both
def test_what_is_not_the_gateway_is_told_as_such(serve, kind):
    elsewhere = Answer(302, "", {"Location": "http://127.0.0.1:9/"})
    cases = [(Answer(200, "<html>hello"), "NOT_JSON"), (Answer(413, "too much"), "HTTP_413"), (elsewhere, "HTTP_302")]
    for answer, code in cases:
        server = serve(answer)
        error = kind.fails(bulkhead.BulkheadError, lambda: kind.client(server.url).tools.list())  # noqa: B023
        assert error.code == code and len(server.requests) == 1


@both
def test_a_deployment_is_waited_for_and_its_failure_and_its_delay_are_told(serve, kind):
    def at(status, **more):
        return enveloped({"deploymentId": "dep-1", "status": status, **more})

    server = serve(at("pending"), at("building"), at("running", toolsDiscovered=3))
    deployment = kind.run(lambda: kind.client(server.url).mcp.add(name="own", source=SOURCE, category="custom"))
    seen = []
    wait = {"poll_interval": 0.001, "on_progress": lambda told: seen.append(told.status)}
    ready = kind.run(lambda: deployment.wait_until_ready(**wait))
    assert (ready.tools_discovered, deployment.status, seen) == (3, "running", ["building", "running"])
    failed = serve(at("failed", error="no Dockerfile"))
    error = kind.fails(
        bulkhead.DeploymentFailedError, lambda: kind.client(failed.url).mcp.wait_for_deployment("dep-1")
    )
    assert (error.reason, error.deployment_id) == ("no Dockerfile", "dep-1")
    slow = serve(at("building"))
    waiting = {"timeout": 0.02, "poll_interval": 0.005}
    kind.fails(
        bulkhead.DeploymentTimeoutError, lambda: kind.client(slow.url).mcp.wait_for_deployment("dep-1", **waiting)
    )


@both
def test_every_server_of_a_config_is_brought_up_or_none(serve, kind):
    server = serve(enveloped({"deploymentId": "d", "status": "pending"}))
    client = kind.client(server.url)
    good = {"one": {"url": "https://x"}, "two": {"command": "npx", "args": ["y"]}}
    made = kind.run(lambda: client.mcp.add_from_config({"mcpServers": good}))
    assert [one.name for one in made] == ["one", "two"]
    assert server.requests[1].body["source"] == {"command": "npx", "args": ["y"], "type": "stdio"}
    bad = {**good, "three": {}}
    error = kind.fails(bulkhead.MCPConfigError, lambda: client.mcp.add_from_config({"mcpServers": bad}))
    assert error.field == "mcpServers.three" and len(server.requests) == 2


@both
def test_bad_arguments_are_told_before_anything_is_sent(serve, kind):
    server = serve(enveloped([]))
    client, admin = kind.client(server.url), kind.admin(server.url)
    calls = [
        lambda: client.tools.select(" "),
        lambda: client.tools.get(".."),
        lambda: client.tenants.list_integrations(),
        lambda: admin.tenants.get(""),
        lambda: admin.tenants.delete("acme"),
        lambda: admin.oauth.store_credentials("a", "b", expires_at=datetime.datetime(2026, 12, 31)),
    ]
    for call in calls:
        assert kind.fails(bulkhead.ValidationError, call).code == "VALIDATION_ERROR"
    for url in ("nonsense", "ftp://x", "http://user:pass@x", "http://x/?key=1", "http://x:port"):
        assert kind.fails(bulkhead.ValidationError, lambda: kind.client(url)).field == "base_url"  # noqa: B023
    assert server.requests == []


@both
def test_what_is_left_out_comes_from_the_environment(serve, kind, monkeypatch):
    server = serve(enveloped([]))
    client = bulkhead.Bulkhead if kind.awaited else bulkhead.SyncBulkhead
    admin = bulkhead.AdminAPI if kind.awaited else bulkhead.SyncAdminAPI
    assert kind.fails(bulkhead.ValidationError, client).field == "base_url"
    for name, value in {"BASE_URL": server.url, "TENANT_ID": "acme"}.items():
        monkeypatch.setenv(f"BULKHEAD_{name}", value)
    monkeypatch.setenv("CONNECTORS_API_KEY", "theirs")
    assert kind.fails(bulkhead.ValidationError, admin).field == "admin_key"
    kind.run(lambda: client().mcp.list())
    monkeypatch.setenv("BULKHEAD_API_KEY", "ours")
    monkeypatch.setenv("ADMIN_API_KEY", "admins")
    kind.run(lambda: client().mcp.list())
    kind.run(lambda: admin().tenants.list())
    sent = [(asked.headers["authorization"], asked.headers.get("x-tenant-id")) for asked in server.requests]
    assert sent == [("Bearer theirs", "acme"), ("Bearer ours", "acme"), ("Bearer admins", None)]


def test_a_server_can_be_awaited_and_not():
    import asyncio

    async def got() -> str:
        client = bulkhead.Connectors("http://127.0.0.1:9")
        server = await client.mcp.get("own")
        return f"{server.name} {client.mcp.get('own').name}"

    assert asyncio.run(got()) == "own own"


def test_both_kinds_of_clients_have_the_same_methods():
    def surface(thing):
        members = inspect.getmembers(type(thing), lambda member: callable(member))
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in members
            if not name.startswith("_") and name not in ("aclose", "close")
        }

    pairs = [
        (bulkhead.Bulkhead("http://x"), bulkhead.SyncBulkhead("http://x")),
        (bulkhead.AdminAPI("http://x", "k"), bulkhead.SyncAdminAPI("http://x", "k")),
    ]
    for awaited, plain in pairs:
        assert surface(awaited) == surface(plain)
        parts = [name for name in vars(awaited) if not name.startswith("_") and name != "tenant_id"]
        assert parts == [name for name in vars(plain) if not name.startswith("_") and name != "tenant_id"]
        for part in parts:
            assert surface(getattr(awaited, part)) == surface(getattr(plain, part)), part


def test_the_plain_clients_are_made_from_the_others():
    script = Path(__file__).parent.parent / "scripts/make_sync.py"
    argv, sys.argv = sys.argv, [str(script), "--check"]
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = argv
    assert ended.value.code == 0
