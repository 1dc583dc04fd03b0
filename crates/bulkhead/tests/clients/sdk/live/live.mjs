// Our own TypeScript SDK against the real gateway: a line per call.
import { Bulkhead, Connectors } from "@bulkhead/sdk";

const { GATEWAY: baseURL, KEY: apiKey, MCP } = process.env;
const client = new Connectors({ baseURL, tenantId: "acme-corp", apiKey });

async function tell(what, call) {
  try {
    console.log(`${what}: ${await call()}`);
  } catch (error) {
    console.log(`${what}: ${error.name} ${error.status ?? "-"} ${error.code}${error.requestId === undefined ? "" : " named"}`);
  }
}

await tell("health", async () => (await client.health()).status);
await tell("ready", async () => `${(await client.ready()).status} ${(await client.ready()).checks.store}`);
await tell("connection", () => client.testConnection());
// What the programs before this one were denied is on the trail; nobody has made a tenant.
await tell("audit", async () => (await client.audit.list({ action: "tenant.created" })).length);

const source = { type: "github", url: "https://github.com/acme/mcp-server" };
const config = { clientId: "client-id", clientSecret: "client-secret-16", redirectUri: "https://a/", authEndpoint: "https://b/", tokenEndpoint: "https://c/" };
const own = { name: "own", source: { type: "http", url: MCP }, category: "custom" };
const textOf = (result) => result.content[0].text;
await tell("none", async () => (await client.tools.list()).length);
await tell("add", async () => (await client.mcp.add(own)).status);
await tell("again", () => client.mcp.add(own));
await tell("to be built", () => client.mcp.add({ name: "built", source, category: "custom" }));
// Added anew, and waited for as one that takes its time.
await tell("ready", async () => {
  await client.mcp.remove("own");
  const told = await (await client.mcp.add(own)).waitUntilReady();
  return `${told.status} ${told.toolsDiscovered} ${told.progressPercent}`;
});
await tell("servers", async () => (await client.mcp.list()).map((told) => `${told.name} ${told.toolCount} ${told.status}`)[0]);
await tell("list", async () => (await client.tools.list({ search: "numbers" }))[0].id);
await tell("select", async () => {
  const told = await client.tools.select("open an issue", { maxTools: 1 });
  return `${told.length} ${told[0].id} ${told[0].score}`;
});
await tell("tool", async () => (await client.tools.get("own.add")).parameters.required.join(","));
await tell("invoke", async () => {
  const told = await client.tools.invoke("own.add", { a: 20, b: 22 });
  return `${textOf(told.data)} ${told.metadata.isError}`;
});
await tell("call", async () => textOf(await (await client.mcp.get("own")).call("add", { a: 1, b: 2 })));
await tell("its tools", async () => (await client.mcp.get("own").listTools()).length);
await tell("broken", () => client.mcp.get("own").call("break_down"));
await tell("categories", async () => (await client.categories.list()).map((told) => `${told.name} ${told.toolCount}`)[0]);
await tell("no tool", () => client.tools.invoke("own.nothing"));
await tell("remove", async () => (await client.mcp.remove("own"), "gone"));
await tell("gone", () => client.mcp.get("own").call("add", { a: 1, b: 2 }));
await tell("oauth", () => client.oauth.configure("github", config));
await tell("integrations", () => client.tenants.listIntegrations());

await tell("no key", () => new Bulkhead({ baseURL }).audit.list());
await tell("unknown key", () => new Bulkhead({ baseURL, apiKey: "nobody" }).audit.list());
await tell("another tenant", () => new Bulkhead({ baseURL, apiKey, tenantId: "beta-corp" }).audit.list());
await tell("bad filter", () => client.audit.list({ from: "yesterday" }));
