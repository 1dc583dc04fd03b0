/**
 * How a client is set up: options first, then the environment, then defaults.
 */
import { ValidationError } from "./errors.js";

/** Milliseconds that one attempt may take, unless told otherwise. */
export const TIMEOUT_MS = 30_000;
/** Further attempts, unless told otherwise. */
export const RETRIES = 3;
/** The longest timer there is: a longer one would fire at once. */
const TIMEOUT_MS_MAX = 2_147_483_647;
/** More attempts than this help nobody. */
const RETRIES_MAX = 20;

/** What both clients can be told. */
export interface CommonOptions {
  /** Where the gateway is, such as `https://gateway.example.com`. Else `BULKHEAD_BASE_URL`. */
  readonly baseURL?: string | undefined;
  /** Milliseconds that one attempt may take: 30,000. */
  readonly timeout?: number | undefined;
  /** Further attempts of a call that may be repeated: 3. */
  readonly maxRetries?: number | undefined;
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Another `fetch` than the global one. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** The first of these environment variables that is set. Browsers have none. */
export function environment(...names: string[]): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  for (const name of names) {
    const value = process?.env?.[name];
    if (value !== undefined && value !== "") {
      return value;
    }
  }
  return undefined;
}

/** The base URL without a slash at its end. */
export function baseURLOf(option: string | undefined): string {
  const told = option ?? environment("BULKHEAD_BASE_URL", "CONNECTORS_BASE_URL");
  if (told === undefined) {
    throw invalid("baseURL", "No `baseURL` was given and BULKHEAD_BASE_URL is not set");
  }
  let url: URL;
  try {
    url = new URL(told);
  } catch {
    throw invalid("baseURL", "`baseURL` is not a URL: write it as https://gateway.example.com");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw invalid("baseURL", "`baseURL` has to begin with https:// or http://");
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw invalid("baseURL", "`baseURL` may hold no user, password, query or fragment: pass the key as an option");
  }
  return url.href.replace(/\/+$/, "");
}

/** A value that goes into a header. The error does not repeat it: it may be a secret. */
export function headerValue(field: string, value: string): string {
  if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value)) {
    throw invalid(field, `\`${field}\` has to be visible ASCII characters: is there a line break or a blank at an end?`);
  }
  return value;
}

/** Milliseconds of an attempt. */
export function timeoutOf(option: number | undefined): number {
  const timeout = option ?? TIMEOUT_MS;
  if (!Number.isFinite(timeout) || timeout <= 0) {
    throw invalid("timeout", "`timeout` is a number of milliseconds above 0");
  }
  return Math.min(timeout, TIMEOUT_MS_MAX);
}

/** Attempts after the first. */
export function retriesOf(option: number | undefined): number {
  const retries = option ?? RETRIES;
  if (!Number.isInteger(retries) || retries < 0) {
    throw invalid("maxRetries", "`maxRetries` is a whole number, 0 or more");
  }
  return Math.min(retries, RETRIES_MAX);
}

/** An argument that is wrong. */
export function invalid(field: string, message: string): ValidationError {
  return new ValidationError({ code: "VALIDATION_ERROR", message, field });
}
