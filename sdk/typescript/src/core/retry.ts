/**
 * When a call is made again, and after how long.
 */
import { BulkheadError, HTTPError, NetworkError, TimeoutError } from "./errors.js";

/** Statuses after which a repeatable call is made again. */
const RETRIED: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);
/** Statuses that say that nothing was done. */
const NOTHING_DONE: ReadonlySet<number> = new Set([429, 503]);
/** The pauses grow from here, doubling, */
const PAUSE_MS = 500;
/** to here. */
const PAUSE_MS_MAX = 8_000;
/** A gateway that asks for a longer pause gets none: its error is told at once. */
export const RETRY_AFTER_S_MAX = 60;

/** How a failed attempt may be repeated. */
export interface Repeat {
  /** The call can be made twice and come to the same. */
  readonly repeatable: boolean;
  /** Attempts that were made before. */
  readonly attempt: number;
}

/** Milliseconds until the next attempt; `undefined` when there must be none. */
export function pauseBefore(error: unknown, repeat: Repeat, random: () => number = Math.random): number | undefined {
  if (!(error instanceof BulkheadError) || !mayRepeat(error, repeat.repeatable)) {
    return undefined;
  }
  const asked = error instanceof HTTPError ? error.retryAfter : undefined;
  const jittered = random() * Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** repeat.attempt);
  if (asked === undefined) {
    return jittered;
  }
  return asked > RETRY_AFTER_S_MAX ? undefined : Math.max(asked * 1000, jittered);
}

function mayRepeat(error: BulkheadError, repeatable: boolean): boolean {
  if (error instanceof NetworkError) {
    return repeatable || error.neverSent;
  }
  if (error instanceof TimeoutError) {
    return repeatable;
  }
  // `QUOTA_EXCEEDED` does not pass by waiting a little, whatever its status.
  if (!(error instanceof HTTPError) || error.code === "QUOTA_EXCEEDED") {
    return false;
  }
  return (repeatable ? RETRIED : NOTHING_DONE).has(error.status);
}

/** Waits, unless the signal ends it: then its reason is thrown. */
export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}
