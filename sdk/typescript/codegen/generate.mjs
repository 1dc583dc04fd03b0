// Writes the types of what the gateway answers, from its description: `node generate.mjs DOCUMENT OUT`, with `--check` to compare
// instead. Only what the clients tell of is taken, with what that refers to.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const WANTED = [
  "AuditEvent",
  "CreatedTenant",
  "DeadLetter",
  "Health",
  "Readiness",
  "RevokedTenantApiKey",
  "RotatedTenantKey",
  "Tenant",
  "TenantApiKey",
  "TenantMetrics",
  "TenantWithUsage",
  "UsageReport",
  "WebhookEndpoint",
  "WebhookEvent",
  "WebhookEventDetail",
  "WebhookTest",
];
const HEAD = "// Made from docs/openapi.json by `npm run types`: not to be changed by hand.\n\n";

/** The components of these names, and those that they refer to. */
function picked(all, names) {
  const found = new Map();
  const take = (name) => {
    if (found.has(name)) return;
    if (!all[name]) throw new Error(`the document has no schema ${name}`);
    found.set(name, all[name]);
    for (const [, further] of JSON.stringify(all[name]).matchAll(/#\/components\/schemas\/(\w+)/g)) take(further);
  };
  names.forEach(take);
  return Object.fromEntries([...found].sort(([one], [other]) => (one < other ? -1 : 1)));
}

async function made(document) {
  const schemas = picked(document.components.schemas, WANTED);
  const reduced = { openapi: document.openapi, info: document.info, paths: {}, components: { schemas } };
  const types = await openapiTS(reduced, { immutable: true, exportType: true, excludeDeprecated: true });
  const text = astToString(types);
  // Only the components: there are no paths left.
  const from = text.indexOf("export type components = {");
  return HEAD + text.slice(from, text.indexOf("\n};", from) + 4);
}

const [documentFile, out, check] = process.argv.slice(2);
const text = await made(JSON.parse(readFileSync(documentFile, "utf8")));
if (check !== "--check") {
  writeFileSync(out, text);
} else if (readFileSync(out, "utf8") !== text) {
  console.error(`${out} is stale: run \`npm run types\` in sdk/typescript`);
  process.exit(1);
}
