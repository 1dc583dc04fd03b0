// Runs snippets of seed 001, word for word but for the packages' names: `node run.mjs SNIPPET…`. What they expect around them is
// put there, and the addresses they name lead to the gateway under test.
import { createServer } from "node:http";
import { Server } from "node:net";

import { AdminAPI } from "@bulkhead/admin";
import * as sdk from "@bulkhead/sdk";

const { GATEWAY, ADMIN_API_KEY, TENANT_KEY } = process.env;

const named = ["http://localhost:3000", "https://api.connectors.com"];
const { fetch } = globalThis;
globalThis.fetch = (input, init) => {
  const address = named.find((one) => String(input).startsWith(`${one}/`));
  return fetch(address === undefined ? input : GATEWAY + String(input).slice(address.length), init);
};

// The port that a snippet listens on may be taken here: it gets a free one.
const listening = [];
const { listen } = Server.prototype;
Server.prototype.listen = function free(port, ...rest) {
  if (port !== 3001) {
    return listen.call(this, port, ...rest);
  }
  listening.push(new Promise((ready) => this.once("listening", () => ready(this.address().port))));
  return listen.call(this, 0, "127.0.0.1", ...rest);
};

const made = [];
const given = {
  admin: ADMIN_API_KEY === undefined ? undefined : new AdminAPI({ baseURL: GATEWAY }),
  connectors: new sdk.Connectors({ baseURL: GATEWAY, tenantId: "acme-corp", apiKey: TENANT_KEY }),
  Connectors: class extends sdk.Connectors {
    constructor(options) {
      super(options);
      made.push(this);
    }
  },
  billingSystem: { createInvoice: async (invoice) => console.log("invoice", JSON.stringify(invoice)) },
};
Object.assign(globalThis, given);

/** What is done with what a snippet has made. */
const afterwards = {
  async step4_before() {
    console.log("health", (await made.at(-1).health()).status);
  },
  async step4_after() {
    const [client] = made.slice(-1);
    console.log("health", (await client.health()).status, client.tenantId, (await client.audit.list()).length);
  },
  async express() {
    const select = `http://127.0.0.1:${await listening.at(-1)}/api/tools/select`;
    await tell("without a key", post(select, {}, { query: "open an issue" }));
    const headers = { "x-tenant-id": "acme-corp", authorization: `Bearer ${TENANT_KEY}` };
    await tell("with its key", post(select, headers, { query: "open an issue" }));
    await tell("with another", post(select, { ...headers, authorization: "Bearer nobody" }, { query: "open an issue" }));
  },
  async billing() {
    const server = createServer(globalThis.app);
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    const body = { tenantId: "acme-corp", month: "2024-01" };
    await tell("webhook", post(`http://127.0.0.1:${server.address().port}/webhooks/billing`, {}, body));
  },
};

/** What a snippet needs beforehand. */
const beforehand = {
  // The sample reads `req.body` and leaves the parser to its surroundings: these parse JSON before its own middleware.
  async express() {
    const { default: express } = await import("express");
    const { handle } = express.application;
    express.application.handle = function parsed(request, response, next) {
      express.json()(request, response, (error) => handle.call(this, request, response, error ?? next));
    };
  },
  async billing() {
    const { default: express } = await import("express");
    globalThis.app = express().use(express.json());
  },
};

function post(url, headers, body) {
  return fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
}

async function tell(what, answering) {
  const answer = await answering;
  console.log(what, answer.status, await answer.text());
}

for (const snippet of process.argv.slice(2)) {
  console.log(`# ${snippet}`);
  try {
    await beforehand[snippet]?.();
    await import(`./${snippet}.js`);
    await afterwards[snippet]?.();
  } catch (error) {
    console.log(`${error.name} ${error.code}: ${error.message}`);
  }
}
process.exit();
