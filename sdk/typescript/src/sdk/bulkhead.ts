import { MASK } from "../core/secret.js";
import { type CommonOptions, environment } from "../core/settings.js";
import { Transport } from "../core/transport.js";
import type { Health, Readiness, RequestOptions } from "../core/types.js";
import { VERSION } from "../core/version.js";
import { Audit } from "./audit.js";
import { Categories, Tools } from "./tools.js";
import { MCP } from "./mcp.js";
import { OAuth } from "./oauth.js";
import { Tenants } from "./tenants.js";
import { Usage } from "./usage.js";

/** How a tenant's client is set up. What is left out comes from the environment. */
export interface BulkheadOptions extends CommonOptions {
  /** The tenant's key. Else `BULKHEAD_API_KEY`. */
  readonly apiKey?: string | undefined;
  /** Confirms whose key it is. Else `BULKHEAD_TENANT_ID`. */
  readonly tenantId?: string | undefined;
}

/** A tenant's client. */
export class Bulkhead {
  /** Finding and calling tools. */
  readonly tools: Tools;
  readonly categories: Categories;
  /** The tenant's own MCP servers. */
  readonly mcp: MCP;
  /** The tenant's OAuth applications and connections. */
  readonly oauth: OAuth;
  /** The tenant itself: what it is connected to. */
  readonly tenants: Tenants;
  /** What the tenant used. */
  readonly usage: Usage;
  /** The tenant's own audit trail. */
  readonly audit: Audit;
  readonly tenantId: string | undefined;
  readonly #transport: Transport;
  readonly #hasKey: boolean;

  constructor(options: BulkheadOptions = {}) {
    const key = options.apiKey ?? environment("BULKHEAD_API_KEY", "CONNECTORS_API_KEY");
    const tenantId = options.tenantId ?? environment("BULKHEAD_TENANT_ID", "CONNECTORS_TENANT_ID");
    const transport = new Transport(options, { key, tenantId, userAgent: `bulkhead-sdk-typescript/${VERSION}` });
    this.#transport = transport;
    this.#hasKey = key !== undefined;
    this.tenantId = tenantId;
    this.tools = new Tools(transport);
    this.categories = new Categories(transport);
    this.mcp = new MCP(transport, this.tools);
    this.oauth = new OAuth(transport, tenantId);
    this.tenants = new Tenants(transport, tenantId);
    this.usage = new Usage(transport);
    this.audit = new Audit(transport);
  }

  /** Without a slash at its end. */
  get baseURL(): string {
    return this.#transport.baseURL;
  }

  /** Whether there is a key, never the key. */
  get apiKey(): string | undefined {
    return this.#hasKey ? MASK : undefined;
  }

  /** Whether the gateway runs. */
  async health(options?: RequestOptions): Promise<Health> {
    return (await this.#transport.request<Health>({ method: "GET", path: "/health", options })).data;
  }

  /** Whether the gateway would accept calls; `checks` names each thing it depends on. */
  async ready(options?: RequestOptions): Promise<Readiness> {
    const call = { method: "GET", path: "/ready", query: { verbose: "true" }, alsoGood: [503], options } as const;
    return (await this.#transport.request<Readiness>(call)).data;
  }

  /** True when the gateway answers. */
  async testConnection(options?: RequestOptions): Promise<boolean> {
    try {
      await this.health({ maxRetries: 0, ...options });
      return true;
    } catch {
      options?.signal?.throwIfAborted();
      return false;
    }
  }
}

/** The name of {@link Bulkhead} in code written for Connectors. */
export { Bulkhead as Connectors };
export type { BulkheadOptions as ConnectorsOptions };
