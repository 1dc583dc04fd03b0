// Our own TypeScript SDK against the real gateway: a line per call.
import { Bulkhead, Connectors } from "@bulkhead/sdk";

const { GATEWAY: baseURL, KEY: apiKey } = process.env;
const client = new Connectors({ baseURL, tenantId: "acme-corp", apiKey });

async function tell(what, call) {
  try {
    console.log(`${what}: ${await call()}`);
  } catch (error) {
    console.log(`${what}: ${error.name} ${error.status} ${error.code}${error.requestId === undefined ? "" : " named"}`);
  }
}

await tell("health", async () => (await client.health()).status);
await tell("ready", async () => `${(await client.ready()).status} ${(await client.ready()).checks.store}`);
await tell("connection", () => client.testConnection());
// What the programs before this one were denied is on the trail; nobody has made a tenant.
await tell("audit", async () => (await client.audit.list({ action: "tenant.created" })).length);

const source = { type: "github", url: "https://github.com/acme/mcp-server" };
const config = { clientId: "client-id", clientSecret: "client-secret-16", redirectUri: "https://a/", authEndpoint: "https://b/", tokenEndpoint: "https://c/" };
await tell("select", () => client.tools.select("query"));
await tell("list", () => client.tools.list());
await tell("tool", () => client.tools.get("github.createPullRequest"));
await tell("invoke", () => client.tools.invoke("github.createPullRequest", { repo: "acme/app" }));
await tell("categories", () => client.categories.list());
await tell("add", () => client.mcp.add({ name: "own", source, category: "custom" }));
await tell("servers", () => client.mcp.list());
await tell("call", async () => (await client.mcp.get("own")).call("run"));
await tell("remove", () => client.mcp.remove("own"));
await tell("oauth", () => client.oauth.configure("github", config));
await tell("integrations", () => client.tenants.listIntegrations());

await tell("no key", () => new Bulkhead({ baseURL }).audit.list());
await tell("unknown key", () => new Bulkhead({ baseURL, apiKey: "nobody" }).audit.list());
await tell("another tenant", () => new Bulkhead({ baseURL, apiKey, tenantId: "beta-corp" }).audit.list());
await tell("bad filter", () => client.audit.list({ from: "yesterday" }));
