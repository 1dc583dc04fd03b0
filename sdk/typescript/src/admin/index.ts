/**
 * The operator's client of a Bulkhead gateway.
 *
 * @packageDocumentation
 */
export { AdminAPI, AdminAPI as default, type AdminOptions } from "./admin.js";
export { AdminAudit } from "./audit.js";
export { AdminOAuth } from "./oauth.js";
export { AdminTenants, ApiKeys } from "./tenants.js";
export { Webhooks } from "./webhooks.js";
export * from "../core/errors.js";
export * from "../core/types.js";
export { VERSION } from "../core/version.js";
