// What receivers were told and did not take, as our own TypeScript SDK tells the operator.
import { AdminAPI } from "@bulkhead/admin";

const { webhooks, tenants } = new AdminAPI({ baseURL: process.env.GATEWAY });

const [event, ...others] = await webhooks.list({ tenant: "acme", kind: "key.created", state: "dead", pageSize: 1 });
console.log(event.type, event.tenantId, others.length, (await webhooks.list({ state: "delivered" })).length);
const { deliveries, payload } = await webhooks.get(event.id);
const [delivery] = deliveries;
console.log(deliveries.length, delivery.endpoint, delivery.state, delivery.attempts, delivery.lastStatus, payload.type);
const [letter] = await webhooks.deadLetters({ tenant: "acme" });
console.log(letter.eventId === event.id, letter.type, letter.tenantId, letter.lastError);
const [endpoint] = await webhooks.endpoints();
console.log(endpoint.id, endpoint.tenants.length, endpoint.deadLetters);
console.log((await webhooks.redeliver(event.id, { endpoint: "ops" })).id === event.id);
const tried = await webhooks.test("ops");
console.log(tried.delivered, tried.status);
const closed = await tenants.closeMonth("acme", "2025-01");
console.log(closed.type, closed.id === (await tenants.closeMonth("acme", "2025-01")).id);
await webhooks.get("nothing").catch(({ name, status }) => console.log(name, status));
