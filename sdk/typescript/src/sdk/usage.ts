import type { Transport } from "../core/transport.js";
import type { MetricsRange, TenantMetrics, UsageMonth, UsageReport } from "../core/types.js";

/** What the tenant used. */
export class Usage {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** A month's usage and what it costs. */
  async get(month: UsageMonth = {}): Promise<UsageReport> {
    const query = { month: month.month };
    return (await this.#transport.request<UsageReport>({ method: "GET", path: "/api/v1/usage", query, options: month })).data;
  }

  /** Counts from one day to another, both included. */
  async metrics(range: MetricsRange = {}): Promise<TenantMetrics> {
    const query = { startDate: range.startDate, endDate: range.endDate };
    const call = { method: "GET", path: "/api/v1/usage/metrics", query, options: range } as const;
    return (await this.#transport.request<TenantMetrics>(call)).data;
  }
}
