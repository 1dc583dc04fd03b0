/**
 * A tenant's client of a Bulkhead gateway.
 *
 * @packageDocumentation
 */
export { Bulkhead, Bulkhead as default, type BulkheadOptions, Connectors, type ConnectorsOptions } from "./bulkhead.js";
export { Audit } from "./audit.js";
export { AwaitableMCPServer, Deployment, MCP, MCPServer } from "./mcp.js";
export { OAuth } from "./oauth.js";
export { Tenants } from "./tenants.js";
export { Categories, Tools } from "./tools.js";
export { Usage } from "./usage.js";
export * from "../core/errors.js";
export * from "../core/types.js";
export { VERSION } from "../core/version.js";
