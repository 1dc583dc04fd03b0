import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { AdminAPI } from "@bulkhead/admin";
import { Bulkhead } from "@bulkhead/sdk";

import { KEY, enveloped, misbehaving, refused } from "./misbehaving.mjs";

const every = { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true };
const shown = (value) => [inspect(value, every), String(value), JSON.stringify(value), inspect(value.stack)].join("\n");

test("printing a client shows no key", () => {
  const more = { baseURL: "http://127.0.0.1:9", headers: { "x-own": KEY } };
  const client = new Bulkhead({ ...more, apiKey: KEY });
  const admin = new AdminAPI({ ...more, adminKey: KEY });
  for (const one of [client, client.tools, client.mcp, client.mcp.get("x"), admin, admin.tenants]) {
    assert.ok(!shown(one).includes(KEY), inspect(one));
  }
  assert.deepEqual([client.apiKey, admin.adminKey], ["***", "***"]);
});

test("no error shows a key or what was sent", async (t) => {
  const steps = [refused(401, "INVALID_API_KEY"), "cut", { status: 200, body: "no" }];
  for (const step of steps) {
    const server = await misbehaving(t, step);
    const admin = new AdminAPI({ baseURL: server.url, adminKey: KEY, maxRetries: 0 });
    const error = await admin.oauth.storeCredentials("acme", "github", { accessToken: KEY }).catch((e) => e);
    assert.ok(error instanceof Error && !shown(error).includes(KEY), inspect(error));
  }
});

test("a key with a line break is refused without being repeated", () => {
  for (const apiKey of [`${KEY}\n`, `${KEY}é`, ` ${KEY}`]) {
    const make = () => new Bulkhead({ baseURL: "http://127.0.0.1:9", apiKey });
    assert.throws(make, (error) => error.field === "apiKey" && !shown(error).includes(KEY));
  }
});

test("a new key can be read, and is masked when it is printed", async (t) => {
  const server = await misbehaving(t, enveloped({ id: "acme", apiKey: KEY }));
  const admin = new AdminAPI({ baseURL: server.url, adminKey: "a" });
  for (const made of [await admin.tenants.create({ id: "acme", name: "A" }), await admin.tenants.apiKeys.create("acme", { name: "ci" })]) {
    assert.equal(made.apiKey, KEY);
    assert.equal(JSON.parse(JSON.stringify(made)).apiKey, KEY);
    assert.equal(inspect(made), "{ id: 'acme', apiKey: '***' }");
    assert.ok(!inspect([made], every).includes(KEY));
  }
});
