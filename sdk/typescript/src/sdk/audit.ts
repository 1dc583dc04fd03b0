import { trail, wholeTrail } from "../core/audit.js";
import type { Transport } from "../core/transport.js";
import type { AuditEvent, AuditFilter } from "../core/types.js";

const PATH = "/api/v1/audit";

/** The tenant's own audit trail, the newest event first. */
export class Audit {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  list(filter: AuditFilter = {}): Promise<AuditEvent[]> {
    return wholeTrail(this.#transport, PATH, filter);
  }

  iterate(filter: AuditFilter = {}): AsyncGenerator<AuditEvent, void, undefined> {
    return trail(this.#transport, PATH, filter);
  }
}
