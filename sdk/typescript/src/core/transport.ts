/**
 * One call over HTTP: headers, deadline, attempts, envelope.
 */
import { BulkheadError, NetworkError, TimeoutError, ValidationError } from "./errors.js";
import { errorOf, record } from "./refusals.js";
import { pauseBefore, sleep } from "./retry.js";
import { type CommonOptions, baseURLOf, headerValue, invalid, retriesOf, timeoutOf } from "./settings.js";
import type { RequestOptions } from "./types.js";

/** Bytes of an answer that are read; a longer one is an error. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** What a connection that never was fails with, in Node. */
const NEVER_SENT: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

/** Query parameters; `undefined` leaves one out, an array repeats it. */
export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** What is asked. */
export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Begins with a slash; made by {@link path}. */
  readonly path: string;
  readonly query?: Query | undefined;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** A POST that can be made twice and come to the same. */
  readonly repeatable?: boolean;
  /** Statuses beside 2xx whose body is the answer. */
  readonly alsoGood?: readonly number[];
  readonly options?: RequestOptions | undefined;
}

/** What came back. */
export interface Answer<T> {
  readonly data: T;
  /** What the envelope says about itself, such as `nextCursor`. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The whole body. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** A client's identity. */
export interface Identity {
  readonly key: string | undefined;
  readonly tenantId: string | undefined;
  readonly userAgent: string;
}

/** A path from a template's parts: what is filled in is escaped, and may be neither empty nor a step upwards. */
export function path(parts: TemplateStringsArray, ...values: string[]): string {
  const escaped = values.map((value) => {
    if (typeof value !== "string" || value === "" || value === "." || value === "..") {
      throw invalid("id", "An id or name is empty or not one");
    }
    return encodeURIComponent(value);
  });
  return String.raw({ raw: parts }, ...escaped);
}

/** What all parts of a client call through. Its fields are private in fact: printing it shows none of them. */
export class Transport {
  readonly #baseURL: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeout: number;
  readonly #retries: number;
  readonly #fetch: typeof globalThis.fetch;

  constructor(options: CommonOptions, identity: Identity) {
    this.#baseURL = baseURLOf(options.baseURL);
    this.#timeout = timeoutOf(options.timeout);
    this.#retries = retriesOf(options.maxRetries);
    this.#headers = headersOf(options, identity);
    const own = options.fetch;
    // Looked up at each call: a `fetch` that is replaced later, as tests and tracers do, is the one that is used.
    this.#fetch = own ?? ((input, init) => globalThis.fetch(input, init));
  }

  get baseURL(): string {
    return this.#baseURL;
  }

  get timeout(): number {
    return this.#timeout;
  }

  get maxRetries(): number {
    return this.#retries;
  }

  /** Makes the call, and makes it again where that is safe. */
  async request<T>(call: Call): Promise<Answer<T>> {
    const retries = call.options?.maxRetries === undefined ? this.#retries : retriesOf(call.options.maxRetries);
    const repeatable = call.repeatable ?? (call.method !== "POST" && call.method !== "PATCH");
    // Made once: every attempt carries the same Idempotency-Key.
    const init = this.#init(call);
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#attempt<T>(call, init);
      } catch (error) {
        const pause = attempt < retries ? pauseBefore(error, { repeatable, attempt }) : undefined;
        if (pause === undefined) {
          throw error;
        }
        await sleep(pause, call.options?.signal);
      }
    }
  }

  #init(call: Call): RequestInit {
    const headers: Record<string, string> = { ...this.#headers };
    const init: RequestInit = { method: call.method, headers, redirect: "manual" };
    if (call.body !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(call.body);
    }
    if (call.method === "POST") {
      const own = call.options?.idempotencyKey;
      headers["idempotency-key"] = own === undefined ? randomKey() : headerValue("idempotencyKey", own);
    }
    return init;
  }

  async #attempt<T>(call: Call, init: RequestInit): Promise<Answer<T>> {
    const timeout = call.options?.timeout === undefined ? this.#timeout : timeoutOf(call.options.timeout);
    const url = this.#baseURL + call.path;
    const deadline = new Deadline(timeout, call.options?.signal);
    try {
      const response = await this.#fetch(url + queryOf(call.query), { ...init, signal: deadline.signal });
      const text = await readBounded(response);
      return understood<T>(call, response, text);
    } catch (error) {
      throw deadline.explain(error, url);
    } finally {
      deadline.clear();
    }
  }
}

/** The end of an attempt: its time, or the caller's own signal. */
class Deadline {
  readonly #controller = new AbortController();
  readonly #theirs: AbortSignal | undefined;
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #timeout: number;
  #late = false;

  constructor(timeout: number, theirs: AbortSignal | undefined) {
    theirs?.throwIfAborted();
    this.#timeout = timeout;
    this.#theirs = theirs;
    theirs?.addEventListener("abort", this.#abort, { once: true });
    this.#timer = setTimeout(() => {
      this.#late = true;
      this.#controller.abort();
    }, timeout);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #abort = () => this.#controller.abort();

  clear(): void {
    clearTimeout(this.#timer);
    this.#theirs?.removeEventListener("abort", this.#abort);
  }

  /** What a failure was in truth: the caller's own end, the time, the network, or what it says it is. */
  explain(error: unknown, url: string): unknown {
    if (this.#theirs?.aborted === true) {
      return this.#theirs.reason;
    }
    if (this.#late) {
      return new TimeoutError(this.#timeout, url);
    }
    if (error instanceof BulkheadError) {
      return error;
    }
    return networkError(error, url);
  }
}

function networkError(error: unknown, url: string): NetworkError {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const code = record(cause instanceof Error ? { ...cause } : cause)["code"];
  const why = typeof code === "string" ? code : cause instanceof Error ? cause.message : "the connection failed";
  const neverSent = typeof code === "string" && NEVER_SENT.has(code);
  return new NetworkError(`${url} could not be reached, or broke off: ${why}`, url, neverSent, error);
}

function headersOf(options: CommonOptions, identity: Identity): Record<string, string> {
  const headers: Record<string, string> = { accept: "application/json" };
  // Browsers have their own, and ask permission for another.
  if (!("document" in globalThis)) {
    headers["user-agent"] = identity.userAgent;
  }
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    headers[name.toLowerCase()] = headerValue(`headers.${name}`, value);
  }
  if (identity.key !== undefined) {
    headers["authorization"] = `Bearer ${headerValue("apiKey", identity.key)}`;
  }
  if (identity.tenantId !== undefined) {
    headers["x-tenant-id"] = headerValue("tenantId", identity.tenantId);
  }
  return headers;
}

function queryOf(query: Query | undefined): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    const values = Array.isArray(value) ? value : [value];
    for (const one of values) {
      if (one !== undefined) {
        search.append(name, String(one));
      }
    }
  }
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

async function readBounded(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) {
    return response.text();
  }
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return text + decoder.decode();
    }
    bytes += value.byteLength;
    if (bytes > ANSWER_BYTES_MAX) {
      await reader.cancel();
      throw invalid("answer", `The answer is longer than ${ANSWER_BYTES_MAX} bytes`);
    }
    text += decoder.decode(value, { stream: true });
  }
}

function understood<T>(call: Call, response: Response, text: string): Answer<T> {
  const body = parsed(text);
  const good = response.ok || call.alsoGood?.includes(response.status) === true;
  if (!good || record(body)["success"] === false) {
    throw errorOf({ status: response.status, headers: response.headers, text, body });
  }
  if (body === undefined && text.trim() !== "") {
    const message = `${response.url} did not answer in JSON: is \`baseURL\` the gateway's?`;
    throw new ValidationError({ code: "NOT_JSON", message, status: response.status, field: "baseURL" });
  }
  const whole = record(body);
  const enveloped = whole["success"] === true && "data" in whole;
  return { data: (enveloped ? whole["data"] : body) as T, metadata: record(whole["metadata"]), body: whole };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function randomKey(): string {
  const crypto = (globalThis as { crypto?: Crypto }).crypto;
  if (crypto?.getRandomValues === undefined) {
    // Node 18 without its flag: unique is enough, this is no secret.
    return `${Date.now().toString(36)}-${Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 10)).join("")}`;
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
