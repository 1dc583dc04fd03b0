import { trail, wholeTrail } from "../core/audit.js";
import { type Transport, path } from "../core/transport.js";
import type { AuditEvent, AuditFilter } from "../core/types.js";

/** The tenants' audit trails, the newest event first. */
export class AdminAudit {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  list(tenantId: string, filter: AuditFilter = {}): Promise<AuditEvent[]> {
    return wholeTrail(this.#transport, at(tenantId), filter);
  }

  iterate(tenantId: string, filter: AuditFilter = {}): AsyncGenerator<AuditEvent, void, undefined> {
    return trail(this.#transport, at(tenantId), filter);
  }
}

function at(tenantId: string): string {
  return path`/api/v1/admin/tenants/${tenantId}/audit`;
}
