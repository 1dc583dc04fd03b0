// The operator's client of our own TypeScript SDK against the real gateway: a line per step.
import { AdminAPI } from "@bulkhead/admin";
import { Bulkhead } from "@bulkhead/sdk";

const { GATEWAY: baseURL } = process.env;
const admin = new AdminAPI({ baseURL });
const { tenants } = admin;
const trailOf = async (apiKey, tenantId) => (await new Bulkhead({ baseURL, apiKey, tenantId }).audit.list()).length > 0;

async function tell(what, call) {
  try {
    console.log(`${what}: ${[await call()].flat().join(" ")}`);
  } catch (error) {
    console.log(`${what}: ${error.name} ${error.status} ${error.code}${error.field === undefined ? "" : ` ${error.field}`}`);
  }
}

const limits = { requestsPerMinute: 2000, maxCustomServers: 20 };
const { apiKey } = await tenants.create({ id: "one", name: "One", email: "a@one.example", plan: "enterprise", limits });
await tell("its key works", () => trailOf(apiKey, "one"));
await tell("made again", () => tenants.create({ id: "one", name: "One" }));
await tell("bad plan", () => tenants.create({ id: "two", name: "Two", plan: "platinum" }));
await tell("bad field", () => tenants.update("one", { limits: { requestsPerMinute: "many" } }));
await tell("updated", async () => {
  const told = await tenants.update("one", { limits: { requestsPerMinute: 5000 }, features: { oauth: false } });
  return [told.limits.requestsPerMinute, told.limits.maxCustomServers, told.features.oauth, told.features.customServers];
});
await tell("got", async () => {
  const told = await tenants.get("one");
  return [told.id, told.name, told.email, told.plan, told.status, told.managedBy, told.limits.requestsPerMinute];
});

for (const id of ["three", "two", "four"]) {
  await tenants.create({ id, name: id });
}
const ours = (listed) => listed.map(({ id }) => id).filter((id) => id !== "default");
await tell("list", async () => ours(await tenants.list({ pageSize: 2 })));
await tell("first two", async () => (await tenants.list({ pageSize: 1, max: 2 })).length);

const december = { accessToken: "t-1", refreshToken: "t-2", expiresAt: new Date("2026-12-31"), scopes: ["repo", "user"] };
const told = ({ tenantId, integration, expiresAt, nextRefreshAt, scopes }) => [tenantId, integration, expiresAt, nextRefreshAt, scopes];
await tell("credentials", async () => told(await admin.oauth.storeCredentials("two", "github", december)));
await tell("kept", async () => told(await admin.oauth.getCredentials("two", "github")));
await tell("switched off", () => admin.oauth.storeCredentials("one", "github", december));
await tell("forgotten", async () => (await admin.oauth.deleteCredentials("two", "github")) === undefined);
await tell("none left", () => admin.oauth.getCredentials("two", "github"));

await tell("suspended", async () => (await tenants.suspend("one")).status);
await tell("its call", () => trailOf(apiKey));
await tell("resumed", async () => (await tenants.resume("one")).status);
await tell("its next call", () => trailOf(apiKey));

const second = await tenants.rotateApiKey("one");
await tell("rotated", async () => [typeof second, second !== apiKey]);
await tell("the old key", () => trailOf(apiKey));
await tell("the new key", () => trailOf(second));
const third = await tenants.rotateApiKey("one", { gracePeriodSeconds: 3600 });
await tell("both in grace", async () => [await trailOf(second), await trailOf(third)]);

const key = await tenants.apiKeys.create("one", { name: "ci", scopes: ["read"], rateLimit: { requestsPerMinute: 1 } });
await tell("a key", () => [key.name, key.status, key.scopes, typeof key.apiKey]);
await tell("its first call", () => trailOf(key.apiKey));
await tell("its second", async () => {
  const error = await new Bulkhead({ baseURL, apiKey: key.apiKey, maxRetries: 0 }).audit.list().catch((refused) => refused);
  return [error.name, error.code, error.limit, error.remaining, error.retryAfter > 0];
});
await tell("listed", async () => (await tenants.apiKeys.list("one")).some(({ id, name }) => id === key.id && name === "ci"));
await tell("ended", async () => (await tenants.apiKeys.delete("one", key.id)) === undefined);
await tell("its last call", () => trailOf(key.apiKey));

await tell("fenced", async () => (await tenants.update("one", { security: { allowedIPs: ["203.0.113.0/24"] } })).security.allowedIPs);
await tell("from elsewhere", () => trailOf(third));
await tell("trail", async () => new Set((await admin.audit.list("one", { pageSize: 3 })).map(({ tenantId }) => tenantId)).size);
await tell("unknown", () => tenants.get("nobody"));
await tell("deleted", async () => (await tenants.delete("four", { confirm: true })) === undefined);
await tell("list afterwards", async () => ours(await tenants.list()));
await tell("not an admin", () => new AdminAPI({ baseURL, adminKey: second }).tenants.list());
