// What the seed's snippets expect to find around them. `run.mjs` puts it there.
declare const process: { env: Record<string, string | undefined> };
declare const admin: import("@bulkhead/admin").AdminAPI;
declare const connectors: import("@bulkhead/sdk").Connectors;
declare const Connectors: typeof import("@bulkhead/sdk").Connectors;
declare const app: any;
declare const billingSystem: any;
