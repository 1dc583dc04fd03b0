/**
 * Lists that come in pages.
 */
import { BulkheadError } from "./errors.js";
import { invalid } from "./settings.js";
import type { Call, Transport } from "./transport.js";
import type { ListOptions } from "./types.js";

/** Every item of every page, read as they are wanted. */
export async function* iterate<T>(
  transport: Transport,
  call: Call,
  options: ListOptions = {},
): AsyncGenerator<T, void, undefined> {
  const max = options.max ?? Number.POSITIVE_INFINITY;
  if (!(max >= 0)) {
    throw invalid("max", "`max` is a number, 0 or more");
  }
  let cursor = options.cursor;
  let told = 0;
  while (told < max) {
    const query = { ...call.query, limit: options.pageSize, cursor };
    const page = await transport.request<T[]>({ ...call, query, options });
    for (const item of items(page.data)) {
      if (told >= max) {
        return;
      }
      told += 1;
      yield item;
    }
    const next = page.metadata["nextCursor"];
    if (typeof next !== "string" || next === "") {
      return;
    }
    if (next === cursor) {
      throw new BulkheadError({ code: "BAD_ANSWER", message: "The gateway's list leads back to the page it came from" });
    }
    cursor = next;
  }
}

/** All of them in one array. */
export async function collect<T>(all: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of all) {
    collected.push(item);
  }
  return collected;
}

function items<T>(data: readonly T[]): readonly T[] {
  if (!Array.isArray(data)) {
    throw new BulkheadError({ code: "BAD_ANSWER", message: "The gateway did not answer with a list" });
  }
  return data;
}
