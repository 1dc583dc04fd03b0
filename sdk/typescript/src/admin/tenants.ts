import { instant } from "../core/audit.js";
import { collect, iterate } from "../core/pages.js";
import { hidden } from "../core/secret.js";
import { invalid } from "../core/settings.js";
import { type Transport, path } from "../core/transport.js";
import type {
  ApiKey,
  ApiKeyCreate,
  CreatedApiKey,
  CreatedTenant,
  ListOptions,
  MetricsRange,
  RequestOptions,
  RotateOptions,
  Tenant,
  TenantCreate,
  TenantDeleteOptions,
  TenantMetrics,
  TenantUpdate,
  UsageMonth,
  UsageReport,
  WebhookEventDetail,
} from "../core/types.js";

const TENANTS = "/api/v1/admin/tenants";

/** The tenants of the gateway. */
export class AdminTenants {
  /** The keys of a tenant. */
  readonly apiKeys: ApiKeys;
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
    this.apiKeys = new ApiKeys(transport);
  }

  /** Makes a tenant, once: repeated under its idempotency key it is told again. The answer holds its key, this once. */
  async create(tenant: TenantCreate, options?: RequestOptions): Promise<CreatedTenant> {
    const call = { method: "POST", path: TENANTS, body: tenant, repeatable: true, options } as const;
    return hidden((await this.#transport.request<CreatedTenant>(call)).data, "apiKey");
  }

  /** A tenant and what it used this month. */
  async get(id: string, options?: RequestOptions): Promise<Tenant> {
    return (await this.#transport.request<Tenant>({ method: "GET", path: at(id), options })).data;
  }

  /** All tenants; {@link iterate} reads them as they are wanted. */
  list(options: ListOptions = {}): Promise<Tenant[]> {
    return collect(this.iterate(options));
  }

  /** All tenants, a page at a time. */
  iterate(options: ListOptions = {}): AsyncGenerator<Tenant, void, undefined> {
    return iterate<Tenant>(this.#transport, { method: "GET", path: TENANTS }, options);
  }

  /** Changes what is named and leaves the rest. */
  async update(id: string, changes: TenantUpdate, options?: RequestOptions): Promise<Tenant> {
    return (await this.#transport.request<Tenant>({ method: "PATCH", path: at(id), body: changes, options })).data;
  }

  /** Refuses the tenant's calls until it is resumed. */
  async suspend(id: string, options?: RequestOptions): Promise<Tenant> {
    const call = { method: "POST", path: `${at(id)}/suspend`, repeatable: true, options } as const;
    return (await this.#transport.request<Tenant>(call)).data;
  }

  /** Accepts the tenant's calls again. */
  async resume(id: string, options?: RequestOptions): Promise<Tenant> {
    const call = { method: "POST", path: `${at(id)}/resume`, repeatable: true, options } as const;
    return (await this.#transport.request<Tenant>(call)).data;
  }

  /** Deletes a tenant for good: its data keys are destroyed, its evidence is kept. */
  async delete(id: string, options: TenantDeleteOptions): Promise<void> {
    if (options?.confirm !== true) {
      throw invalid("confirm", "Deleting a tenant cannot be undone: pass `{ confirm: true }`");
    }
    await this.#transport.request({ method: "DELETE", path: at(id), query: { confirm: true }, options });
  }

  /** Replaces the tenant's key, once: repeated under its idempotency key it is told again. Tells the new key, this once. */
  async rotateApiKey(id: string, options: RotateOptions = {}): Promise<string> {
    const { gracePeriodSeconds } = options;
    const path = `${at(id)}/rotate-api-key`;
    const call = { method: "POST", path, body: { gracePeriodSeconds }, repeatable: true, options } as const;
    return (await this.#transport.request<{ apiKey: string }>(call)).data.apiKey;
  }

  /** Counts from one day to another, both included. */
  async getMetrics(id: string, range: MetricsRange = {}): Promise<TenantMetrics> {
    const query = { startDate: range.startDate, endDate: range.endDate };
    const call = { method: "GET", path: `${at(id)}/metrics`, query, options: range } as const;
    return (await this.#transport.request<TenantMetrics>(call)).data;
  }

  /** A month's usage and what it costs. */
  async getUsage(id: string, month: UsageMonth = {}): Promise<UsageReport> {
    const call = { method: "GET", path: `${at(id)}/usage`, query: { month: month.month }, options: month } as const;
    return (await this.#transport.request<UsageReport>(call)).data;
  }

  /** Closes a month that is over, which tells the billing webhooks: once, however often it is asked for. */
  async closeMonth(id: string, month: string, options?: RequestOptions): Promise<WebhookEventDetail> {
    const path = `${at(id)}/billing/close`;
    const call = { method: "POST", path, body: { month }, repeatable: true, options } as const;
    return (await this.#transport.request<WebhookEventDetail>(call)).data;
  }
}

/** The named keys of a tenant: each opens every door that its scopes allow. */
export class ApiKeys {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Makes a key, once: repeated under its idempotency key it is told again. The answer holds it, this once. */
  async create(tenantId: string, key: ApiKeyCreate, options?: RequestOptions): Promise<CreatedApiKey> {
    const body = { ...key, expiresAt: instant(key.expiresAt) };
    const call = { method: "POST", path: `${at(tenantId)}/api-keys`, body, repeatable: true, options } as const;
    return hidden((await this.#transport.request<CreatedApiKey>(call)).data, "apiKey");
  }

  /** The tenant's keys, without the keys themselves. */
  list(tenantId: string, options: ListOptions = {}): Promise<ApiKey[]> {
    return collect(this.iterate(tenantId, options));
  }

  iterate(tenantId: string, options: ListOptions = {}): AsyncGenerator<ApiKey, void, undefined> {
    return iterate<ApiKey>(this.#transport, { method: "GET", path: `${at(tenantId)}/api-keys` }, options);
  }

  /** Ends a key at once. */
  async delete(tenantId: string, keyId: string, options?: RequestOptions): Promise<void> {
    const call = { method: "DELETE", path: at(tenantId) + path`/api-keys/${keyId}`, options } as const;
    await this.#transport.request(call);
  }
}

function at(id: string): string {
  return TENANTS + path`/${id}`;
}
