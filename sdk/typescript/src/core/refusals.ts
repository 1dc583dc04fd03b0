/**
 * From an answer that is an error to the class that says which.
 */
import {
  AuthenticationError,
  BulkheadError,
  ConflictError,
  HTTPError,
  NotFoundError,
  NotImplementedError,
  PermissionDeniedError,
  QuotaExceededError,
  RateLimitError,
  ServerError,
  ServerNotFoundError,
  ToolNotFoundError,
  ValidationError,
} from "./errors.js";

/** Characters of an answer that is not JSON which an error's message repeats. */
const EXCERPT_CHARS_MAX = 200;

/** An answer as far as errors care. */
export interface Refused {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, where it is JSON. */
  readonly body: unknown;
}

type Facts = ConstructorParameters<typeof HTTPError>[0];
type ErrorClass = new (facts: Facts) => BulkheadError;

/** What a code alone decides. */
const BY_CODE: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["QUOTA_EXCEEDED", QuotaExceededError],
  ["TOOL_NOT_FOUND", ToolNotFoundError],
  ["SERVER_NOT_FOUND", ServerNotFoundError],
  ["NOT_IMPLEMENTED", NotImplementedError],
]);

/** What a status decides otherwise. */
const BY_STATUS: ReadonlyMap<number, ErrorClass> = new Map<number, ErrorClass>([
  [401, AuthenticationError],
  [403, PermissionDeniedError],
  [404, NotFoundError],
  [409, ConflictError],
  [501, NotImplementedError],
]);

/** The error that an answer tells. */
export function errorOf(refused: Refused): BulkheadError {
  const facts = factsOf(refused);
  if (refused.status === 400 || refused.status === 422) {
    const field = facts.context?.["field"];
    return new ValidationError({ ...facts, field: typeof field === "string" ? field : undefined });
  }
  if (refused.status === 429 && facts.code !== "QUOTA_EXCEEDED") {
    return new RateLimitError({ ...facts, ...limitsOf(refused) });
  }
  const known = BY_CODE.get(facts.code) ?? BY_STATUS.get(refused.status);
  return new (known ?? (refused.status >= 500 ? ServerError : HTTPError))(facts);
}

function factsOf(refused: Refused): Facts {
  const body = record(refused.body);
  // A limit tells its error as a text and its code beside it; every other refusal tells an object.
  const error = typeof body["error"] === "object" ? record(body["error"]) : body;
  const status = refused.status;
  const message = text(error["message"]) ?? text(body["error"]) ?? excerpt(refused);
  return {
    status,
    code: text(error["code"]) ?? text(body["code"]) ?? (status === 501 ? "NOT_IMPLEMENTED" : `HTTP_${status}`),
    message,
    requestId: text(record(body["metadata"])["requestId"]) ?? refused.headers.get("x-request-id") ?? undefined,
    context: typeof error["context"] === "object" ? record(error["context"]) : undefined,
    retryAfter: retryAfterOf(refused.headers.get("retry-after"), Date.now()) ?? number(body["retryAfter"]),
  };
}

/** `Retry-After` in seconds: a number of them, or an HTTP date. */
export function retryAfterOf(header: string | null, nowMs: number): number | undefined {
  if (header === null || header.trim() === "") {
    return undefined;
  }
  if (/^\d+(\.\d+)?$/.test(header.trim())) {
    return Number(header);
  }
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, (at - nowMs) / 1000);
}

function limitsOf(refused: Refused): { limit: number | undefined; remaining: number | undefined } {
  const limits = record(record(refused.body)["limits"]);
  const header = (name: string) => number(Number(refused.headers.get(name) ?? Number.NaN));
  return {
    limit: number(limits["limit"]) ?? header("x-ratelimit-limit"),
    remaining: number(limits["remaining"]) ?? header("x-ratelimit-remaining"),
  };
}

function excerpt(refused: Refused): string {
  const said = refused.text.trim().slice(0, EXCERPT_CHARS_MAX);
  return said === "" ? `The gateway answered ${refused.status}` : `The gateway answered ${refused.status}: ${said}`;
}

/** A JSON object, or an empty one. */
export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
