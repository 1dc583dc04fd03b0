import { collect, iterate } from "../core/pages.js";
import { type Transport, path } from "../core/transport.js";
import type {
  DeadLetter,
  DeadLetterFilter,
  ListOptions,
  RedeliverOptions,
  RequestOptions,
  WebhookEndpoint,
  WebhookEvent,
  WebhookEventDetail,
  WebhookFilter,
  WebhookTest,
} from "../core/types.js";

const WEBHOOKS = "/api/v1/admin/webhooks";

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
  async get(eventId: string, options?: RequestOptions): Promise<WebhookEventDetail> {
    const call = { method: "GET", path: WEBHOOKS + path`/events/${eventId}`, options } as const;
    return (await this.#transport.request<WebhookEventDetail>(call)).data;
  }

  /** Delivers an event again, under the same id: receivers that saw it know it. */
  async redeliver(eventId: string, options: RedeliverOptions = {}): Promise<WebhookEventDetail> {
    const at = WEBHOOKS + path`/events/${eventId}/redeliver`;
    const body = { endpoint: options.endpoint };
    const call = { method: "POST", path: at, body, repeatable: true, options } as const;
    return (await this.#transport.request<WebhookEventDetail>(call)).data;
  }

  /** Deliveries that were given up. */
  deadLetters(filter: DeadLetterFilter = {}): Promise<DeadLetter[]> {
    const call = { method: "GET", path: `${WEBHOOKS}/dead-letters`, query: { tenant: filter.tenant } } as const;
    return collect(iterate<DeadLetter>(this.#transport, call, filter));
  }

  /** The receivers, without their secrets. */
  endpoints(options: ListOptions = {}): Promise<WebhookEndpoint[]> {
    return collect(iterate<WebhookEndpoint>(this.#transport, { method: "GET", path: `${WEBHOOKS}/endpoints` }, options));
  }

  /** Sends a receiver a test event. */
  async test(endpointId: string, options?: RequestOptions): Promise<WebhookTest> {
    const at = WEBHOOKS + path`/endpoints/${endpointId}/test`;
    return (await this.#transport.request<WebhookTest>({ method: "POST", path: at, options })).data;
  }
}
