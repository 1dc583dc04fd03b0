import { collect, iterate } from "../core/pages.js";
import { type Transport, path } from "../core/transport.js";
import type { ListOptions, RequestOptions, WebhookEvent, WebhookFilter } from "../core/types.js";

const WEBHOOKS = "/api/v1/admin/webhooks";

type Told = Readonly<Record<string, unknown>>;

/** What is told to receivers outside, and what could not be. */
export class Webhooks {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Events and how their deliveries stand. */
  list(filter: WebhookFilter = {}): Promise<WebhookEvent[]> {
    return collect(this.iterate(filter));
  }

  iterate(filter: WebhookFilter = {}): AsyncGenerator<WebhookEvent, void, undefined> {
    const query = { tenant: filter.tenant, kind: filter.kind, state: filter.state };
    return iterate<WebhookEvent>(this.#transport, { method: "GET", path: `${WEBHOOKS}/events`, query }, filter);
  }

  /** One event with its deliveries. */
  async get(eventId: string, options?: RequestOptions): Promise<WebhookEvent> {
    const call = { method: "GET", path: WEBHOOKS + path`/events/${eventId}`, options } as const;
    return (await this.#transport.request<WebhookEvent>(call)).data;
  }

  /** Delivers an event again, under the same id: receivers that saw it know it. */
  async redeliver(eventId: string, options?: RequestOptions): Promise<Told> {
    const at = WEBHOOKS + path`/events/${eventId}/redeliver`;
    return (await this.#transport.request<Told>({ method: "POST", path: at, repeatable: true, options })).data;
  }

  /** Deliveries that were given up. */
  deadLetters(options: ListOptions = {}): Promise<WebhookEvent[]> {
    return collect(iterate<WebhookEvent>(this.#transport, { method: "GET", path: `${WEBHOOKS}/dead-letters` }, options));
  }

  /** The receivers, without their secrets. */
  endpoints(options: ListOptions = {}): Promise<Told[]> {
    return collect(iterate<Told>(this.#transport, { method: "GET", path: `${WEBHOOKS}/endpoints` }, options));
  }

  /** Sends a receiver a test event. */
  async test(endpointId: string, options?: RequestOptions): Promise<Told> {
    const at = WEBHOOKS + path`/endpoints/${endpointId}/test`;
    return (await this.#transport.request<Told>({ method: "POST", path: at, options })).data;
  }
}
