import { MASK } from "../core/secret.js";
import { type CommonOptions, environment, invalid } from "../core/settings.js";
import { Transport } from "../core/transport.js";
import type { Health, RequestOptions } from "../core/types.js";
import { VERSION } from "../core/version.js";
import { AdminAudit } from "./audit.js";
import { AdminOAuth } from "./oauth.js";
import { AdminTenants } from "./tenants.js";
import { Webhooks } from "./webhooks.js";

/** How an operator's client is set up. What is left out comes from the environment. */
export interface AdminOptions extends CommonOptions {
  /** The admin key. Else `ADMIN_API_KEY`. */
  readonly adminKey?: string | undefined;
}

/** The operator's client: tenants, their keys, limits and usage. */
export class AdminAPI {
  readonly tenants: AdminTenants;
  /** Credentials that the gateway uses for tenants. */
  readonly oauth: AdminOAuth;
  /** The tenants' audit trails. */
  readonly audit: AdminAudit;
  /** What is told to receivers outside, and what could not be. */
  readonly webhooks: Webhooks;
  readonly #transport: Transport;

  constructor(options: AdminOptions = {}) {
    const key = options.adminKey ?? environment("ADMIN_API_KEY", "BULKHEAD_ADMIN_KEY");
    if (key === undefined) {
      throw invalid("adminKey", "No `adminKey` was given and ADMIN_API_KEY is not set");
    }
    const identity = { key, tenantId: undefined, userAgent: `bulkhead-admin-typescript/${VERSION}` };
    const transport = new Transport(options, identity);
    this.#transport = transport;
    this.tenants = new AdminTenants(transport);
    this.oauth = new AdminOAuth(transport);
    this.audit = new AdminAudit(transport);
    this.webhooks = new Webhooks(transport);
  }

  /** Without a slash at its end. */
  get baseURL(): string {
    return this.#transport.baseURL;
  }

  /** That there is a key, never the key. */
  get adminKey(): string {
    return MASK;
  }

  /** Whether the gateway runs. */
  async health(options?: RequestOptions): Promise<Health> {
    return (await this.#transport.request<Health>({ method: "GET", path: "/health", options })).data;
  }
}
