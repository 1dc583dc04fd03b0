/**
 * Reading an audit trail, the tenant's own or another's.
 */
import { collect, iterate } from "./pages.js";
import type { Transport } from "./transport.js";
import type { AuditEvent, AuditFilter } from "./types.js";

/** Every event of a trail, the newest first. */
export function trail(transport: Transport, path: string, filter: AuditFilter): AsyncGenerator<AuditEvent, void, undefined> {
  const { action, actor, object, result } = filter;
  const query = { action, actor, object, result, from: instant(filter.from), to: instant(filter.to) };
  return iterate<AuditEvent>(transport, { method: "GET", path, query }, filter);
}

/** As {@link trail}, in one array. */
export function wholeTrail(transport: Transport, path: string, filter: AuditFilter): Promise<AuditEvent[]> {
  return collect(trail(transport, path, filter));
}

/** A date as the wire has it. */
export function instant(value: Date | string | undefined): string | undefined {
  return value instanceof Date ? value.toISOString() : value;
}
