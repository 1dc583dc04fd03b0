import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";

import { AdminAPI } from "@bulkhead/admin";
import { Bulkhead, NetworkError, RateLimitError, ServerError, TimeoutError } from "@bulkhead/sdk";

import { KEY, enveloped, limited, misbehaving, refused } from "./misbehaving.mjs";

const client = (server, more) => new Bulkhead({ baseURL: server.url, apiKey: KEY, ...more });
const admin = (server, more) => new AdminAPI({ baseURL: server.url, adminKey: KEY, ...more });

test("a limit is waited for as long as the gateway asks", async (t) => {
  const server = await misbehaving(t, limited(1), enveloped({ tools: [{ id: "a.b" }] }));
  assert.deepEqual(await client(server).tools.list(), [{ id: "a.b" }]);
  const [first, second] = server.requests;
  assert.ok(second.at - first.at >= 1000, `${second.at - first.at} ms`);
});

test("a pause that is too long is told at once", async (t) => {
  const server = await misbehaving(t, limited(3600));
  const error = await client(server).tools.list().catch((e) => e);
  assert.ok(error instanceof RateLimitError);
  assert.deepEqual([error.retryAfter, error.limit, error.remaining, error.code], [3600, 5, 0, "RATE_LIMITED"]);
  assert.equal(server.requests.length, 1);
});

test("a read is repeated after 408, 502, 503, 504 and a connection that breaks", async (t) => {
  for (const fault of [408, 502, 503, 504].map((status) => refused(status, "LATER")).concat("cut")) {
    const server = await misbehaving(t, fault, enveloped([]));
    assert.deepEqual(await client(server).mcp.list(), [], JSON.stringify(fault));
    assert.equal(server.requests.length, 2);
  }
});

test("nothing is repeated after 500, nor more often than it may", async (t) => {
  const failing = await misbehaving(t, refused(500, "INTERNAL_SERVER_ERROR"));
  await assert.rejects(client(failing).mcp.list(), { name: "ServerError", status: 500, requestId: "r-2" });
  assert.equal(failing.requests.length, 1);
  const down = await misbehaving(t, refused(503, "SERVICE_UNAVAILABLE"));
  await assert.rejects(client(down, { maxRetries: 1 }).mcp.list(), ServerError);
  assert.equal(down.requests.length, 2);
  await assert.rejects(client(down).mcp.list({ maxRetries: 0 }), ServerError);
  assert.equal(down.requests.length, 3);
});

test("a POST that comes to the same when repeated is, under one idempotency key", async (t) => {
  const server = await misbehaving(t, "cut", refused(502, "LATER"), enveloped({ tools: [] }));
  await client(server).tools.select("issues");
  const keys = server.requests.map((request) => request.headers["idempotency-key"]);
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1);
  assert.match(keys[0], /^[0-9a-z-]{16,}$/);
});

test("a tenant is asked for again, under one idempotency key, and its answer told", async (t) => {
  const server = await misbehaving(t, "cut", refused(502, "LATER"), enveloped({ id: "a", apiKey: "new" }));
  assert.equal((await admin(server).tenants.create({ id: "a" })).apiKey, "new");
  assert.equal(new Set(server.requests.map((request) => request.headers["idempotency-key"])).size, 1);
  assert.equal(server.requests.length, 3);
});

test("a key that is told again is asked for again, under one idempotency key", async (t) => {
  const asks = [
    async (server) => admin(server).tenants.rotateApiKey("acme"),
    async (server) => (await admin(server).tenants.apiKeys.create("acme", { name: "ci" })).apiKey,
  ];
  for (const ask of asks) {
    for (const fault of ["cut", refused(502, "LATER"), refused(504, "LATER")]) {
      const server = await misbehaving(t, fault, enveloped({ id: "k", apiKey: "new" }));
      assert.equal(await ask(server), "new", JSON.stringify(fault));
      assert.equal(server.requests.length, 2);
      assert.equal(new Set(server.requests.map((request) => request.headers["idempotency-key"])).size, 1);
    }
  }
});

test("a POST that does something is repeated only when nothing can have been done", async (t) => {
  for (const fault of ["cut", refused(502, "LATER"), refused(504, "LATER")]) {
    const server = await misbehaving(t, fault, enveloped({ result: 1 }));
    await assert.rejects(client(server).tools.invoke("a.b", {}), JSON.stringify(fault));
    assert.equal(server.requests.length, 1);
  }
  const busy = await misbehaving(t, refused(503, "SERVICE_UNAVAILABLE", {}, { "retry-after": "0" }), enveloped({ apiKey: "new" }));
  assert.equal(await admin(busy).tenants.rotateApiKey("acme"), "new");
  assert.equal(busy.requests.length, 2);
});

test("a PATCH is not repeated once it may have arrived", async (t) => {
  const server = await misbehaving(t, "cut");
  await assert.rejects(admin(server).tenants.update("acme", { name: "ACME" }), NetworkError);
  assert.equal(server.requests.length, 1);
});

test("an address where nobody listens is told as such", async () => {
  const reserved = createServer();
  await new Promise((listening) => reserved.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${reserved.address().port}`;
  await new Promise((closed) => reserved.close(closed));
  const error = await admin({ url }, { maxRetries: 1 }).tenants.create({ id: "a", name: "A" }).catch((e) => e);
  assert.ok(error.name === "NetworkError" && error.neverSent, String(error));
  assert.match(error.message, /ECONNREFUSED/);
  assert.equal(await new Bulkhead({ baseURL: url }).testConnection(), false);
});

test("an attempt ends at its timeout, in the head and in the body", async (t) => {
  const server = await misbehaving(t, "hang");
  const error = await client(server, { timeout: 50, maxRetries: 0 }).tools.list().catch((e) => e);
  assert.ok(error instanceof TimeoutError);
  assert.deepEqual([error.code, error.timeout], ["TIMEOUT", 50]);
  await assert.rejects(client(server).tools.list({ timeout: 50, maxRetries: 0 }), TimeoutError);
  const recovering = await misbehaving(t, "hang", "stall", enveloped([]));
  assert.deepEqual(await client(recovering, { timeout: 1000 }).mcp.list(), []);
  assert.ok(recovering.requests.length > 2);
});

test("a signal ends a call that hangs, and one that pauses", async (t) => {
  for (const step of ["hang", limited(50)]) {
    const server = await misbehaving(t, step);
    const controller = new AbortController();
    const call = client(server).tools.list({ signal: controller.signal });
    while (server.requests.length === 0) {
      await new Promise((soon) => setImmediate(soon));
    }
    controller.abort(new Error("changed my mind"));
    await assert.rejects(call, { message: "changed my mind" });
    assert.equal(server.requests.length, 1);
  }
  const server = await misbehaving(t, enveloped([]));
  await assert.rejects(client(server).mcp.list({ signal: AbortSignal.abort(new Error("before")) }), { message: "before" });
  assert.equal(server.requests.length, 0);
});
