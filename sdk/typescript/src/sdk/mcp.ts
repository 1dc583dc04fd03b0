import { DeploymentFailedError, DeploymentTimeoutError, MCPConfigError } from "../core/errors.js";
import { record } from "../core/refusals.js";
import { sleep } from "../core/retry.js";
import { invalid } from "../core/settings.js";
import { type Transport, path } from "../core/transport.js";
import type {
  DeploymentStatus,
  InvokeOptions,
  MCPConfig,
  RequestOptions,
  ServerAdd,
  ServerInfo,
  ServerSource,
  Tool,
  WaitOptions,
} from "../core/types.js";
import type { Tools } from "./tools.js";

const WAIT_MS = 300_000;
const POLL_MS = 2_000;
const POLL_MS_MAX = 10_000;
/** How fast the pauses between questions grow. */
const POLL_GROWTH = 1.5;

const READY: ReadonlySet<string> = new Set(["running", "ready"]);
const OVER: ReadonlySet<string> = new Set(["failed", "stopped", "removing"]);

/** One MCP server of the tenant. */
export class MCPServer {
  readonly name: string;
  readonly #tools: Tools;

  constructor(name: string, tools: Tools) {
    this.name = name;
    this.#tools = tools;
  }

  /** Calls one of its tools for its result. */
  call<T = unknown>(tool: string, parameters: Readonly<Record<string, unknown>> = {}, options?: InvokeOptions): Promise<T> {
    return this.#tools.call<T>(`${this.name}.${tool}`, parameters, { integration: this.name, ...options });
  }

  /** Its tools. */
  listTools(options?: RequestOptions): Promise<Tool[]> {
    return this.#tools.list({ ...options, integration: this.name });
  }
}

/** A server that can be used at once, and awaited by code that expects a promise. */
export class AwaitableMCPServer extends MCPServer implements PromiseLike<MCPServer> {
  readonly #plain: MCPServer;

  constructor(name: string, tools: Tools) {
    super(name, tools);
    this.#plain = new MCPServer(name, tools);
  }

  // Resolves to a server that is no promise: `await` would ask this one for ever.
  then<R = MCPServer, E = never>(
    resolved?: ((server: MCPServer) => R | PromiseLike<R>) | null,
    rejected?: ((reason: unknown) => E | PromiseLike<E>) | null,
  ): Promise<R | E> {
    return Promise.resolve(this.#plain).then(resolved, rejected);
  }
}

/** A custom server on its way up. */
export class Deployment {
  readonly deploymentId: string;
  readonly name: string;
  #status: DeploymentStatus;
  readonly #mcp: MCP;

  constructor(name: string, status: DeploymentStatus, mcp: MCP) {
    this.deploymentId = status.deploymentId;
    this.name = name;
    this.#status = status;
    this.#mcp = mcp;
  }

  get id(): string {
    return this.deploymentId;
  }

  /** As it was last told: `pending`, `building`, `deploying`, `running`, `failed`, `stopped` or `removing`. */
  get status(): string {
    return this.#status.status;
  }

  get estimatedTime(): string | undefined {
    return this.#status.estimatedTime;
  }

  get message(): string | undefined {
    return this.#status.message;
  }

  /** Asks how far it is. */
  async getStatus(options?: RequestOptions): Promise<DeploymentStatus> {
    this.#status = await this.#mcp.getDeploymentStatus(this.deploymentId, options);
    return this.#status;
  }

  /** As {@link getStatus}, for the deployment. */
  async refresh(options?: RequestOptions): Promise<this> {
    await this.getStatus(options);
    return this;
  }

  /** Waits until its tools can be called. Throws {@link DeploymentFailedError} and {@link DeploymentTimeoutError}. */
  async waitUntilReady(options?: WaitOptions): Promise<DeploymentStatus> {
    this.#status = await this.#mcp.waitForDeployment(this.deploymentId, options);
    return this.#status;
  }
}

/** The tenant's own MCP servers. */
export class MCP {
  readonly #transport: Transport;
  readonly #tools: Tools;

  constructor(transport: Transport, tools: Tools) {
    this.#transport = transport;
    this.#tools = tools;
  }

  /** A server by its name, with or without `await`. The gateway is first asked when one of its tools is. */
  get(name: string): AwaitableMCPServer {
    if (typeof name !== "string" || name === "") {
      throw invalid("name", "A server's `name` is empty");
    }
    return new AwaitableMCPServer(name, this.#tools);
  }

  /** Brings a server up. */
  async add(server: ServerAdd, options?: RequestOptions): Promise<Deployment> {
    const call = { method: "POST", path: "/api/v1/mcp/add", body: server, options } as const;
    const { data } = await this.#transport.request<DeploymentStatus>(call);
    return new Deployment(server.name, data, this);
  }

  /** Brings up every server of a standard `mcpServers` file, one after the other. */
  async addFromConfig(config: MCPConfig, options?: RequestOptions): Promise<Deployment[]> {
    const servers = Object.entries(record(record(config)["mcpServers"]));
    if (servers.length === 0) {
      throw new MCPConfigError({ code: "INVALID_MCP_CONFIG", message: "`mcpServers` names no server", field: "mcpServers" });
    }
    // All are understood before the first is brought up.
    const wanted = servers.map(([name, entry]) => ({ name, source: sourceOf(name, record(entry)), category: "custom" }));
    const deployments: Deployment[] = [];
    for (const server of wanted) {
      deployments.push(await this.add(server, options));
    }
    return deployments;
  }

  /** The tenant's servers. */
  async list(options?: RequestOptions): Promise<ServerInfo[]> {
    const answer = await this.#transport.request<unknown>({ method: "GET", path: "/api/v1/mcp/custom", options });
    return (record(answer.data)["servers"] ?? answer.data) as ServerInfo[];
  }

  /** Takes a server down. */
  async remove(name: string, options?: RequestOptions): Promise<void> {
    await this.#transport.request({ method: "DELETE", path: path`/api/v1/mcp/custom/${name}`, options });
  }

  /** How far a deployment is. */
  async getDeploymentStatus(deploymentId: string, options?: RequestOptions): Promise<DeploymentStatus> {
    const call = { method: "GET", path: path`/api/v1/mcp/deployments/${deploymentId}`, options } as const;
    return (await this.#transport.request<DeploymentStatus>(call)).data;
  }

  /** Waits until a deployment's tools can be called. */
  async waitForDeployment(deploymentId: string, options: WaitOptions = {}): Promise<DeploymentStatus> {
    const timeout = options.timeout ?? WAIT_MS;
    const until = Date.now() + timeout;
    for (let pause = options.pollInterval ?? POLL_MS; ; pause = Math.min(pause * POLL_GROWTH, POLL_MS_MAX)) {
      const status = await this.getDeploymentStatus(deploymentId, { signal: options.signal });
      options.onProgress?.(status);
      if (READY.has(status.status)) {
        return status;
      }
      if (OVER.has(status.status)) {
        throw new DeploymentFailedError(deploymentId, status.error ?? `its status is ${status.status}`);
      }
      const left = until - Date.now();
      if (left <= 0) {
        throw new DeploymentTimeoutError(deploymentId, timeout);
      }
      await sleep(Math.min(pause, left), options.signal);
    }
  }
}

function sourceOf(name: string, entry: Readonly<Record<string, unknown>>): ServerSource {
  if (typeof entry["url"] === "string") {
    return { ...entry, type: "http", url: entry["url"] };
  }
  if (typeof entry["command"] === "string") {
    return { ...entry, type: "stdio", command: entry["command"] };
  }
  const message = `\`mcpServers.${name}\` has neither a \`url\` nor a \`command\``;
  throw new MCPConfigError({ code: "INVALID_MCP_CONFIG", message, field: `mcpServers.${name}` });
}
