import { record } from "../core/refusals.js";
import { invalid } from "../core/settings.js";
import { type Transport, path } from "../core/transport.js";
import type { RequestOptions } from "../core/types.js";

/** The tenant itself: what it is connected to. */
export class Tenants {
  readonly #transport: Transport;
  readonly #tenantId: string | undefined;

  constructor(transport: Transport, tenantId: string | undefined) {
    this.#transport = transport;
    this.#tenantId = tenantId;
  }

  /** The integrations that have an OAuth application. */
  async listIntegrations(options?: RequestOptions): Promise<string[]> {
    const tenant = required(this.#tenantId);
    const call = { method: "GET", path: path`/api/v1/tenants/${tenant}/integrations`, options } as const;
    const answer = await this.#transport.request<unknown>(call);
    return (record(answer.data)["integrations"] ?? answer.data) as string[];
  }

  /** How each connection stands. */
  async status(options?: RequestOptions): Promise<Readonly<Record<string, unknown>>> {
    const call = { method: "GET", path: path`/api/v1/tenants/${required(this.#tenantId)}/status`, options } as const;
    return (await this.#transport.request<Readonly<Record<string, unknown>>>(call)).data;
  }
}

/** The tenant that a path has to name. */
export function required(tenantId: string | undefined): string {
  if (tenantId === undefined) {
    throw invalid("tenantId", "This call names the tenant: pass `tenantId` to the client, or set BULKHEAD_TENANT_ID");
  }
  return tenantId;
}
