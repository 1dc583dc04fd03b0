// What a tenant used, as our own TypeScript SDK tells its operator and itself.
import { AdminAPI } from "@bulkhead/admin";
import { Bulkhead } from "@bulkhead/sdk";

const { GATEWAY: baseURL, KEY: apiKey } = process.env;
const { tenants } = new AdminAPI({ baseURL });
const { usage } = new Bulkhead({ baseURL, apiKey });
const range = { startDate: "2024-01-01", endDate: "2024-01-31" };
const month = { month: "2024-01" };

for (const { requests, tokens, cost, byModel, latency } of [await tenants.getMetrics("acme-corp", range), await usage.metrics(range)]) {
  console.log(requests.total, requests.success, tokens.total, tokens.input, cost.total, cost.currency, byModel.length, latency !== null);
}
for (const report of [await tenants.getUsage("acme-corp", month), await usage.get(month)]) {
  const [calls] = report.lineItems;
  console.log(report.month, report.apiCalls, report.apiCallsCost, report.llmCost, report.totalCost, report.currency);
  console.log(calls.description, calls.quantity, calls.unitPrice, calls.priceUnits, calls.amount);
}
console.log((await tenants.getUsage("acme-corp", { month: "2024-02" })).apiCalls);
await tenants.getUsage("acme-corp", { month: "January" }).catch(({ name, code }) => console.log(name, code));
