/**
 * What can go wrong, as classes with stable codes. No error carries a key, a request body or a header.
 */

/** What an error is made of. */
export interface ErrorDetails {
  /** Stable and made for programs, such as `TENANT_NOT_FOUND`. */
  readonly code: string;
  readonly message: string;
  /** The HTTP status, where there was an answer. */
  readonly status?: number | undefined;
  /** Names this request in the gateway's logs. */
  readonly requestId?: string | undefined;
  /** What the gateway told about the reason. */
  readonly context?: Readonly<Record<string, unknown>> | undefined;
  readonly cause?: unknown;
}

/** What all these errors carry, whichever copy of this file made them. */
const MADE_HERE = Symbol.for("bulkhead.error");

/** Everything this package throws, apart from the reason of an `AbortSignal` of yours. */
export class BulkheadError extends Error {
  readonly code: string;
  readonly status: number | undefined;
  readonly requestId: string | undefined;
  readonly context: Readonly<Record<string, unknown>> | undefined;

  static {
    this.prototype.name = "BulkheadError";
    Object.defineProperty(this.prototype, MADE_HERE, { value: true });
  }

  /** By name: both packages, and each as ES module and CommonJS, have copies of these classes, and all mean the same. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    const own = Object.hasOwn(this.prototype, "name");
    if (!own || typeof value !== "object" || value === null || !(MADE_HERE in value)) {
      return Function.prototype[Symbol.hasInstance].call(this, value);
    }
    let prototype: unknown = Object.getPrototypeOf(value);
    while (prototype instanceof Object) {
      if (Object.hasOwn(prototype, "name") && (prototype as Error).name === this.prototype.name) {
        return true;
      }
      prototype = Object.getPrototypeOf(prototype);
    }
    return false;
  }

  constructor(details: ErrorDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.status = details.status;
    this.requestId = details.requestId;
    this.context = details.context;
  }
}

/** The name of {@link BulkheadError} in code written for Connectors. */
export { BulkheadError as ConnectorsError };

/** An argument, an option or an environment variable is missing or wrong; or the gateway said so (400, 422). */
export class ValidationError extends BulkheadError {
  /** The argument or field that is wrong, where known. */
  readonly field: string | undefined;

  static {
    this.prototype.name = "ValidationError";
  }

  constructor(details: ErrorDetails & { readonly field?: string | undefined }) {
    super(details);
    this.field = details.field;
  }
}

/** No answer came: the connection failed, or broke before the answer was complete. */
export class NetworkError extends BulkheadError {
  /** What was called, without its query. */
  readonly url: string;
  /** True when the request certainly never left: such a call is repeated whatever it does. */
  readonly neverSent: boolean;

  static {
    this.prototype.name = "NetworkError";
  }

  constructor(message: string, url: string, neverSent: boolean, cause?: unknown) {
    super({ code: "NETWORK_ERROR", message, cause });
    this.url = url;
    this.neverSent = neverSent;
  }
}

/** One attempt took longer than `timeout`. */
export class TimeoutError extends BulkheadError {
  /** Milliseconds an attempt may take. */
  readonly timeout: number;

  static {
    this.prototype.name = "TimeoutError";
  }

  constructor(timeout: number, url: string) {
    super({ code: "TIMEOUT", message: `${url} did not answer within ${timeout} ms` });
    this.timeout = timeout;
  }
}

/** The gateway answered with an error. Its subclasses say which. */
export class HTTPError extends BulkheadError {
  declare readonly status: number;
  /** Seconds after which the gateway invites another attempt. */
  readonly retryAfter: number | undefined;

  static {
    this.prototype.name = "HTTPError";
  }

  constructor(details: ErrorDetails & { readonly status: number; readonly retryAfter?: number | undefined }) {
    super(details);
    this.retryAfter = details.retryAfter;
  }

  /** The status under the name that clients of Connectors know. */
  get statusCode(): number {
    return this.status;
  }
}

/** 401: no key, an unknown one, or one of the wrong kind. */
export class AuthenticationError extends HTTPError {
  static {
    this.prototype.name = "AuthenticationError";
  }
}

/** 403: the key is good, and may not do this (`FEATURE_DISABLED`, `IP_NOT_ALLOWED`, `CROSS_TENANT_ACCESS_DENIED`, …). */
export class PermissionDeniedError extends HTTPError {
  static {
    this.prototype.name = "PermissionDeniedError";
  }
}

/** A quota of the tenant is used up (`QUOTA_EXCEEDED`). */
export class QuotaExceededError extends PermissionDeniedError {
  static {
    this.prototype.name = "QuotaExceededError";
  }

  /** How much is used. */
  get used(): number | undefined {
    return number(this.context?.["used"]);
  }

  /** How much there is. */
  get limit(): number | undefined {
    return number(this.context?.["limit"]);
  }
}

/** 404: there is no such thing, or it is not this tenant's. */
export class NotFoundError extends HTTPError {
  static {
    this.prototype.name = "NotFoundError";
  }
}

/** No tool has this id (`TOOL_NOT_FOUND`). */
export class ToolNotFoundError extends NotFoundError {
  static {
    this.prototype.name = "ToolNotFoundError";
  }

  /** Ids that look alike. */
  get suggestions(): string[] {
    return texts(this.context?.["suggestions"]);
  }
}

/** No server has this name (`SERVER_NOT_FOUND`). */
export class ServerNotFoundError extends NotFoundError {
  static {
    this.prototype.name = "ServerNotFoundError";
  }

  /** The names there are. */
  get availableServers(): string[] {
    return texts(this.context?.["availableServers"]);
  }
}

/** 409: it exists already, or is in a state that does not allow this. */
export class ConflictError extends HTTPError {
  static {
    this.prototype.name = "ConflictError";
  }
}

/** 429: too many requests. */
export class RateLimitError extends HTTPError {
  /** Requests that the window admits. */
  readonly limit: number | undefined;
  /** Requests left in it. */
  readonly remaining: number | undefined;

  static {
    this.prototype.name = "RateLimitError";
  }

  constructor(
    details: ConstructorParameters<typeof HTTPError>[0] & {
      readonly limit?: number | undefined;
      readonly remaining?: number | undefined;
    },
  ) {
    super(details);
    this.limit = details.limit;
    this.remaining = details.remaining;
  }
}

/** 501: the gateway knows this function and does not serve it yet (`NOT_IMPLEMENTED`). */
export class NotImplementedError extends HTTPError {
  static {
    this.prototype.name = "NotImplementedError";
  }
}

/** 5xx: the gateway, or what it depends on, failed. */
export class ServerError extends HTTPError {
  static {
    this.prototype.name = "ServerError";
  }
}

/** A tool was reached and told that it failed. */
export class MCPToolError extends BulkheadError {
  readonly toolId: string;
  readonly details: unknown;

  static {
    this.prototype.name = "MCPToolError";
  }

  constructor(toolId: string, message: string, details?: unknown, code = "TOOL_FAILED") {
    super({ code, message });
    this.toolId = toolId;
    this.details = details;
  }
}

/** The name of {@link MCPToolError} in the documentation of Connectors. */
export { MCPToolError as ToolInvocationError };

/** An `mcpServers` file cannot be read as one. */
export class MCPConfigError extends ValidationError {
  static {
    this.prototype.name = "MCPConfigError";
  }
}

/** A custom server did not come up. */
export class DeploymentError extends BulkheadError {
  readonly deploymentId: string;

  static {
    this.prototype.name = "DeploymentError";
  }

  constructor(deploymentId: string, code: string, message: string) {
    super({ code, message });
    this.deploymentId = deploymentId;
  }
}

/** It did not come up in time; it may still do. */
export class DeploymentTimeoutError extends DeploymentError {
  /** Milliseconds that were waited. */
  readonly timeout: number;

  static {
    this.prototype.name = "DeploymentTimeoutError";
  }

  constructor(deploymentId: string, timeout: number) {
    super(deploymentId, "DEPLOYMENT_TIMEOUT", `Deployment ${deploymentId} was not ready within ${timeout} ms`);
    this.timeout = timeout;
  }
}

/** It failed, was stopped or is being removed. */
export class DeploymentFailedError extends DeploymentError {
  readonly reason: string | undefined;

  static {
    this.prototype.name = "DeploymentFailedError";
  }

  constructor(deploymentId: string, reason?: string) {
    super(deploymentId, "DEPLOYMENT_FAILED", `Deployment ${deploymentId} failed: ${reason ?? "no reason was told"}`);
    this.reason = reason;
  }
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
