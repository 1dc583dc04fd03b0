import { MCPToolError } from "../core/errors.js";
import { record } from "../core/refusals.js";
import { invalid } from "../core/settings.js";
import { type Transport, path } from "../core/transport.js";
import type { Category, InvokeOptions, RequestOptions, SelectOptions, Tool, ToolFilter, ToolResult } from "../core/types.js";

/** Finding and calling tools. */
export class Tools {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** The tools that fit a task best, the best first. */
  async select(query: string, options: SelectOptions = {}): Promise<Tool[]> {
    if (typeof query !== "string" || query.trim() === "") {
      throw invalid("query", "`query` says in words what the tools are for, and is empty");
    }
    const { maxTools, tokenBudget, context, category } = options;
    const categories = options.categories ?? (category === undefined ? undefined : [category]);
    const answer = await this.#transport.request<unknown>({
      method: "POST",
      path: "/api/v1/tools/select",
      body: { query, maxTools, categories, tokenBudget, context },
      repeatable: true,
      options,
    });
    return toolsOf(answer.body["tools"] ?? record(answer.data)["tools"]);
  }

  /** The tools there are. */
  async list(filter: ToolFilter = {}): Promise<Tool[]> {
    const { category, integration, search, page, limit, offset } = filter;
    const query = { category, integration, search, page, limit, offset };
    const answer = await this.#transport.request<unknown>({ method: "GET", path: "/api/v1/tools/list", query, options: filter });
    return toolsOf(record(answer.data)["tools"] ?? answer.data);
  }

  /** One tool. */
  async get(toolId: string, options?: RequestOptions): Promise<Tool> {
    return (await this.#transport.request<Tool>({ method: "GET", path: path`/api/v1/tools/${toolId}`, options })).data;
  }

  /** What kinds of tools there are. */
  async getCategories(options?: RequestOptions): Promise<Category[]> {
    const answer = await this.#transport.request<unknown>({ method: "GET", path: "/api/v1/categories", options });
    return (record(answer.data)["categories"] ?? answer.data) as Category[];
  }

  /**
   * Calls a tool and tells how it went. It is made again only when it certainly was not begun.
   */
  async invoke<T = unknown>(
    toolId: string,
    parameters: Readonly<Record<string, unknown>> = {},
    options: InvokeOptions = {},
  ): Promise<ToolResult<T>> {
    if (typeof toolId !== "string" || toolId === "") {
      throw invalid("toolId", "`toolId` is empty");
    }
    const integration = options.integration ?? toolId.split(".", 1)[0];
    const answer = await this.#transport.request<T>({
      method: "POST",
      path: "/api/v1/tools/invoke",
      body: { toolId, integration, parameters },
      options,
    });
    return { success: true, data: answer.data, metadata: answer.metadata };
  }

  /** Calls a tool for its result alone. */
  async call<T = unknown>(
    toolId: string,
    parameters: Readonly<Record<string, unknown>> = {},
    options: InvokeOptions = {},
  ): Promise<T> {
    const result = await this.invoke<T>(toolId, parameters, options);
    const failed = record(result.data);
    // A tool that was reached and failed says so in its own result, as MCP has it.
    if (failed["isError"] === true) {
      throw new MCPToolError(toolId, `${toolId} failed`, failed["content"]);
    }
    return result.data as T;
  }
}

/** What kinds of tools there are. */
export class Categories {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  list(options?: RequestOptions): Promise<Category[]> {
    return new Tools(this.#transport).getCategories(options);
  }
}

/** A flat list, or the tiers of one. */
function toolsOf(value: unknown): Tool[] {
  if (Array.isArray(value)) {
    return value as Tool[];
  }
  const tiers = record(value);
  return ["tier1", "tier2", "tier3"].flatMap((tier) => (Array.isArray(tiers[tier]) ? (tiers[tier] as Tool[]) : []));
}
