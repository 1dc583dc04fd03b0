import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import * as adminPackage from "@bulkhead/admin";
import * as sdk from "@bulkhead/sdk";

import { KEY, enveloped, misbehaving, refused } from "./misbehaving.mjs";

const { AdminAPI } = adminPackage;
const { Bulkhead, Connectors } = sdk;

/** What a client asked, as `METHOD path body`. */
const asked = (server) =>
  server.requests.map(({ method, url, body }) => `${method} ${url}${body === undefined ? "" : ` ${JSON.stringify(body)}`}`);

test("every administrative call asks for what the API has", async (t) => {
  const server = await misbehaving(t, enveloped([]));
  const admin = new AdminAPI({ baseURL: `${server.url}/`, adminKey: KEY });
  await admin.tenants.create({ id: "acme", name: "ACME", limits: { requestsPerMinute: 5 } });
  await admin.tenants.get("acme");
  await admin.tenants.list({ pageSize: 7, cursor: "c" });
  await admin.tenants.update("acme", { security: { allowedIPs: ["203.0.113.0/24"] } });
  await admin.tenants.suspend("acme");
  await admin.tenants.resume("acme");
  await admin.tenants.delete("acme", { confirm: true });
  await admin.tenants.rotateApiKey("acme", { gracePeriodSeconds: 60 });
  await admin.tenants.getMetrics("acme", { startDate: "2026-11-01", endDate: "2026-11-02" });
  await admin.tenants.getUsage("acme", { month: "2026-11" });
  await admin.tenants.apiKeys.create("acme", { name: "ci", expiresAt: new Date(0) });
  await admin.tenants.apiKeys.list("acme");
  await admin.tenants.apiKeys.delete("acme", "k/1");
  await admin.oauth.storeCredentials("acme", "github", { accessToken: "t", expiresAt: new Date("2026-12-31"), scopes: ["repo"] });
  await admin.oauth.getCredentials("acme", "github");
  await admin.oauth.deleteCredentials("acme", "github");
  await admin.audit.list("acme", { from: new Date(0), action: "tenant.created" });
  await admin.webhooks.list({ tenant: "acme", state: "dead" });
  await admin.webhooks.get("e1");
  await admin.webhooks.redeliver("e1", { endpoint: "billing" });
  await admin.tenants.closeMonth("acme", "2026-10");
  await admin.webhooks.deadLetters();
  await admin.webhooks.endpoints();
  await admin.webhooks.test("billing");
  const at = "/api/v1/admin/tenants";
  assert.deepEqual(asked(server), [
    `POST ${at} {"id":"acme","name":"ACME","limits":{"requestsPerMinute":5}}`,
    `GET ${at}/acme`,
    `GET ${at}?limit=7&cursor=c`,
    `PATCH ${at}/acme {"security":{"allowedIPs":["203.0.113.0/24"]}}`,
    `POST ${at}/acme/suspend`,
    `POST ${at}/acme/resume`,
    `DELETE ${at}/acme?confirm=true`,
    `POST ${at}/acme/rotate-api-key {"gracePeriodSeconds":60}`,
    `GET ${at}/acme/metrics?startDate=2026-11-01&endDate=2026-11-02`,
    `GET ${at}/acme/usage?month=2026-11`,
    `POST ${at}/acme/api-keys {"name":"ci","expiresAt":"1970-01-01T00:00:00.000Z"}`,
    `GET ${at}/acme/api-keys`,
    `DELETE ${at}/acme/api-keys/k%2F1`,
    `PUT ${at}/acme/oauth/github/credentials {"accessToken":"t","expiresAt":"2026-12-31T00:00:00.000Z","scopes":["repo"]}`,
    `GET ${at}/acme/oauth/github/credentials`,
    `DELETE ${at}/acme/oauth/github/credentials`,
    `GET ${at}/acme/audit?action=tenant.created&from=1970-01-01T00%3A00%3A00.000Z`,
    "GET /api/v1/admin/webhooks/events?tenant=acme&state=dead",
    "GET /api/v1/admin/webhooks/events/e1",
    'POST /api/v1/admin/webhooks/events/e1/redeliver {"endpoint":"billing"}',
    `POST ${at}/acme/billing/close {"month":"2026-10"}`,
    "GET /api/v1/admin/webhooks/dead-letters",
    "GET /api/v1/admin/webhooks/endpoints",
    "POST /api/v1/admin/webhooks/endpoints/billing/test",
  ]);
  assert.ok(server.requests.every(({ headers }) => headers.authorization === `Bearer ${KEY}`));
  assert.match(server.requests[0].headers["user-agent"], /^bulkhead-admin-typescript\//);
});

test("every call of a tenant asks for what the API has", async (t) => {
  const server = await misbehaving(t, enveloped([]));
  const client = new Connectors({ baseURL: server.url, apiKey: KEY, tenantId: "acme" });
  await client.tools.select("query", { maxTools: 5, category: "code", tokenBudget: 900 });
  await client.tools.list({ integration: "github", search: "pull", page: 2 });
  await client.tools.get("github.createPullRequest");
  await client.tools.invoke("github.createPullRequest", { repo: "a/b" });
  await client.mcp.get("own").call("run", { x: 1 });
  await (await client.mcp.get("own")).listTools();
  await client.categories.list();
  await client.mcp.add({ name: "own", source: { type: "github", url: "https://github.com/a/b" }, category: "custom" });
  await client.mcp.addFromConfig({ mcpServers: { one: { url: "https://x" }, two: { command: "npx", args: ["y"] } } });
  await client.mcp.remove("own");
  await client.oauth.authorize("github");
  await client.oauth.getStatus("github");
  await client.oauth.revoke("github");
  await client.tenants.listIntegrations();
  await client.usage.get({ month: "2026-11" });
  await client.audit.list();
  await client.health();
  assert.deepEqual(asked(server), [
    'POST /api/v1/tools/select {"query":"query","maxTools":5,"categories":["code"],"tokenBudget":900}',
    "GET /api/v1/tools/list?integration=github&search=pull&page=2",
    "GET /api/v1/tools/github.createPullRequest",
    'POST /api/v1/tools/invoke {"toolId":"github.createPullRequest","integration":"github","parameters":{"repo":"a/b"}}',
    'POST /api/v1/tools/invoke {"toolId":"own.run","integration":"own","parameters":{"x":1}}',
    "GET /api/v1/tools/list?integration=own",
    "GET /api/v1/categories",
    'POST /api/v1/mcp/add {"name":"own","source":{"type":"github","url":"https://github.com/a/b"},"category":"custom"}',
    'POST /api/v1/mcp/add {"name":"one","source":{"url":"https://x","type":"http"},"category":"custom"}',
    'POST /api/v1/mcp/add {"name":"two","source":{"command":"npx","args":["y"],"type":"stdio"},"category":"custom"}',
    "DELETE /api/v1/mcp/custom/own",
    "POST /api/v1/oauth/authorize/github",
    "GET /api/v1/tenants/acme/integrations/github",
    "DELETE /api/v1/tenants/acme/integrations/github/credentials",
    "GET /api/v1/tenants/acme/integrations",
    "GET /api/v1/usage?month=2026-11",
    "GET /api/v1/audit",
    "GET /health",
  ]);
  assert.ok(server.requests.every(({ headers }) => headers["x-tenant-id"] === "acme"));
});

test("a list follows the cursor to its end, an iterator no further than it is read", async (t) => {
  const page = (request) => {
    const cursor = new URL(request.url, "http://x").searchParams.get("cursor") ?? "0";
    return enveloped([`${cursor}a`, `${cursor}b`], { nextCursor: cursor === "3" ? null : String(Number(cursor) + 1) });
  };
  const server = await misbehaving(t, page);
  const admin = new AdminAPI({ baseURL: server.url, adminKey: KEY });
  assert.deepEqual(await admin.tenants.list(), ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b"]);
  assert.equal(server.requests.length, 4);
  assert.deepEqual(await admin.tenants.list({ max: 3 }), ["0a", "0b", "1a"]);
  for await (const first of admin.tenants.iterate()) {
    assert.equal(first, "0a");
    break;
  }
  assert.equal(server.requests.length, 7);
  const loop = await misbehaving(t, enveloped([1], { nextCursor: "same" }));
  await assert.rejects(new AdminAPI({ baseURL: loop.url, adminKey: KEY }).tenants.list(), { code: "BAD_ANSWER" });
});

test("every refusal is its own class with its code, its context and its request", async (t) => {
  const cases = [
    [400, "VALIDATION_ERROR", "ValidationError"],
    [401, "INVALID_API_KEY", "AuthenticationError"],
    [403, "FEATURE_DISABLED", "PermissionDeniedError"],
    [403, "QUOTA_EXCEEDED", "QuotaExceededError"],
    [404, "TENANT_NOT_FOUND", "NotFoundError"],
    [404, "TOOL_NOT_FOUND", "ToolNotFoundError"],
    [404, "SERVER_NOT_FOUND", "ServerNotFoundError"],
    [409, "TENANT_ALREADY_EXISTS", "ConflictError"],
    [413, "REQUEST_TOO_LARGE", "HTTPError"],
    [501, "NOT_IMPLEMENTED", "NotImplementedError"],
    [500, "INTERNAL_SERVER_ERROR", "ServerError"],
  ];
  for (const [status, code, name] of cases) {
    const server = await misbehaving(t, refused(status, code, { field: "plan", used: 10, limit: 10, suggestions: ["a.b"] }));
    const error = await new Bulkhead({ baseURL: server.url }).tools.list().catch((e) => e);
    assert.deepEqual([error.name, error.status, error.code, error.requestId], [name, status, code, "r-2"]);
    assert.ok(error instanceof sdk[name] && error instanceof sdk.BulkheadError && error instanceof sdk.ConnectorsError);
    assert.equal(error.context.limit, 10);
    assert.equal(error.field, name === "ValidationError" ? "plan" : undefined);
    assert.deepEqual(error.suggestions, name === "ToolNotFoundError" ? ["a.b"] : undefined);
    assert.equal(error.used, name === "QuotaExceededError" ? 10 : undefined);
  }
});

test("an error of one package is an instance of the other's class, and of no other", async (t) => {
  const server = await misbehaving(t, refused(404, "TENANT_NOT_FOUND"));
  const error = await new AdminAPI({ baseURL: server.url, adminKey: KEY }).tenants.get("acme").catch((e) => e);
  assert.ok(error instanceof sdk.NotFoundError && error instanceof sdk.HTTPError && error instanceof adminPackage.BulkheadError);
  assert.ok(!(error instanceof sdk.ConflictError) && !(error instanceof sdk.ToolNotFoundError));
  class Own extends sdk.NotFoundError {}
  assert.ok(!(error instanceof Own) && new Own({ code: "X", message: "x", status: 404 }) instanceof sdk.NotFoundError);
  for (const other of [undefined, null, "x", new Error("x"), {}]) {
    assert.ok(!(other instanceof sdk.BulkheadError));
  }
});

test("what is not the gateway is told as such", async (t) => {
  const page = await misbehaving(t, { status: 200, body: "<html>hello</html>" });
  await assert.rejects(new Bulkhead({ baseURL: page.url }).tools.list(), { code: "NOT_JSON" });
  const proxy = await misbehaving(t, { status: 413, body: "too much" });
  await assert.rejects(new Bulkhead({ baseURL: proxy.url }).tools.list(), { code: "HTTP_413", message: /too much/ });
  const elsewhere = await misbehaving(t, { status: 302, headers: { location: "http://127.0.0.1:9/" }, body: "" });
  await assert.rejects(new Bulkhead({ baseURL: elsewhere.url, apiKey: KEY }).tools.list(), { code: "HTTP_302" });
  assert.equal(elsewhere.requests.length, 1);
});

test("a deployment is waited for, and its failure and its delay are told", async (t) => {
  const at = (status, more) => enveloped({ deploymentId: "dep-1", status, ...more });
  const server = await misbehaving(t, at("pending"), at("building"), at("running", { toolsDiscovered: 3 }));
  const client = new Bulkhead({ baseURL: server.url });
  const deployment = await client.mcp.add({ name: "own", source: { type: "http", url: "https://x" }, category: "custom" });
  const seen = [];
  const ready = await deployment.waitUntilReady({ pollInterval: 1, onProgress: ({ status }) => seen.push(status) });
  assert.deepEqual([ready.toolsDiscovered, deployment.status, seen], [3, "running", ["building", "running"]]);
  const failed = await misbehaving(t, at("failed", { error: "no Dockerfile" }));
  const wait = (url, options) => new Bulkhead({ baseURL: url }).mcp.waitForDeployment("dep-1", options);
  await assert.rejects(wait(failed.url), { name: "DeploymentFailedError", reason: "no Dockerfile", deploymentId: "dep-1" });
  const slow = await misbehaving(t, at("building"));
  await assert.rejects(wait(slow.url, { timeout: 20, pollInterval: 5 }), { name: "DeploymentTimeoutError", timeout: 20 });
});

test("bad arguments are told before anything is sent", async (t) => {
  const server = await misbehaving(t, enveloped([]));
  const client = new Bulkhead({ baseURL: server.url });
  const admin = new AdminAPI({ baseURL: server.url, adminKey: KEY });
  const wrong = [
    () => client.tools.select(" "),
    () => client.tools.get(".."),
    () => client.tenants.listIntegrations(),
    () => client.mcp.addFromConfig({ mcpServers: { one: {} } }),
    () => admin.tenants.get(""),
    () => admin.tenants.delete("acme"),
    () => admin.tenants.get("acme", { timeout: -1 }),
  ];
  for (const call of wrong) {
    const error = await call().catch((e) => e);
    assert.equal(error.code === "VALIDATION_ERROR" || error.code === "INVALID_MCP_CONFIG", true, String(call));
  }
  assert.equal(server.requests.length, 0);
  for (const baseURL of ["nonsense", "ftp://x", "http://user:pass@x", "http://x/?key=1"]) {
    assert.throws(() => new Bulkhead({ baseURL }), { name: "ValidationError", field: "baseURL" });
  }
});

test("what is left out comes from the environment", async (t) => {
  const server = await misbehaving(t, enveloped([]));
  const set = (values) => Object.assign(process.env, values);
  const names = ["BULKHEAD_BASE_URL", "BULKHEAD_API_KEY", "BULKHEAD_TENANT_ID", "CONNECTORS_API_KEY", "ADMIN_API_KEY"];
  t.after(() => names.forEach((name) => delete process.env[name]));
  assert.throws(() => new Bulkhead(), { field: "baseURL" });
  set({ BULKHEAD_BASE_URL: server.url, CONNECTORS_API_KEY: "theirs", BULKHEAD_TENANT_ID: "acme" });
  assert.throws(() => new AdminAPI(), { field: "adminKey" });
  await new Bulkhead().mcp.list();
  set({ BULKHEAD_API_KEY: "ours", ADMIN_API_KEY: "admins" });
  await new Bulkhead().mcp.list();
  await new AdminAPI().tenants.list();
  const sent = server.requests.map(({ headers }) => [headers.authorization, headers["x-tenant-id"]]);
  assert.deepEqual(sent, [["Bearer theirs", "acme"], ["Bearer ours", "acme"], ["Bearer admins", undefined]]);
});

test("both packages can be required as well as imported", () => {
  const require = createRequire(import.meta.url);
  for (const [name, imported] of [["@bulkhead/sdk", sdk], ["@bulkhead/admin", adminPackage]]) {
    const required = Object.keys(require(name)).filter((exported) => exported !== "__esModule");
    assert.deepEqual(required.sort(), Object.keys(imported).filter((exported) => exported !== "module.exports").sort());
  }
});
