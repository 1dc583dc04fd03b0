/**
 * The wire's types, by hand, in the order of the API's description, so that they can be generated from it one day.
 *
 * Costs are decimal strings: money is never a floating-point number.
 */

// ---- Requests ---------------------------------------------------------------------------------------------------

/** What any single call can be told. */
export interface RequestOptions {
  /** Ends the call, its attempts and its pauses. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds that one attempt may take. */
  readonly timeout?: number | undefined;
  /** Further attempts, where the call may be repeated. */
  readonly maxRetries?: number | undefined;
  /** Sent with a POST; one is made otherwise, the same for every attempt. */
  readonly idempotencyKey?: string | undefined;
}

/** How a list is read. */
export interface ListOptions extends RequestOptions {
  /** Items per request. */
  readonly pageSize?: number | undefined;
  /** Where to begin. */
  readonly cursor?: string | undefined;
  /** Items in all. */
  readonly max?: number | undefined;
}

// ---- Health -----------------------------------------------------------------------------------------------------

export interface Health {
  /** `ok` while the process answers. */
  readonly status: string;
  readonly service?: string;
  readonly uptime_seconds?: number;
}

export interface Readiness {
  /** `ready` or `not_ready`. */
  readonly status: string;
  readonly checks?: Readonly<Record<string, string>>;
}

// ---- Tenants ----------------------------------------------------------------------------------------------------

export interface TenantLimits {
  requestsPerMinute?: number;
  requestsPerHour?: number;
  requestsPerDay?: number;
  maxCustomServers?: number;
  maxToolInvocations?: number;
  maxStorageMB?: number;
  maxApiKeys?: number;
}

export interface TenantFeatures {
  customServers?: boolean;
  oauth?: boolean;
  advancedAnalytics?: boolean;
}

/** Money that a tenant may spend, as decimal strings. */
export interface TenantBudgets {
  daily?: string | null;
  monthly?: string | null;
  session?: string | null;
}

export interface TenantSecurity {
  /** Addresses and CIDR ranges; an empty list is open. */
  allowedIPs?: string[];
}

/** A new tenant. */
export interface TenantCreate {
  /** `^[a-z0-9](?:[a-z0-9-]{0,54}[a-z0-9])?$` */
  id: string;
  name: string;
  email?: string;
  plan?: string;
  limits?: TenantLimits;
  features?: TenantFeatures;
  security?: TenantSecurity;
  budgets?: TenantBudgets;
  metadata?: Record<string, unknown>;
  [further: string]: unknown;
}

/** What changes of a tenant: merged deeply, what is left out stays, `null` goes back to the plan's value. */
export interface TenantUpdate {
  name?: string;
  email?: string | null;
  plan?: string;
  limits?: { [L in keyof TenantLimits]?: TenantLimits[L] | null };
  features?: { [F in keyof TenantFeatures]?: TenantFeatures[F] | null };
  security?: TenantSecurity;
  budgets?: TenantBudgets;
  metadata?: Record<string, unknown>;
  [further: string]: unknown;
}

/** What a tenant used this month. */
export interface TenantUsage {
  readonly month?: string;
  readonly apiCalls?: number;
  readonly toolInvocations?: number;
  readonly customServers?: number;
  readonly storageMB?: number;
  readonly tokens?: number;
}

export interface Tenant {
  readonly id: string;
  /** Its network id, the same for ever. */
  readonly nid: string;
  readonly name: string;
  readonly email?: string;
  readonly plan?: string;
  /** `active` or `suspended`. */
  readonly status: string;
  /** Numbers in force; one that is missing has no limit. */
  readonly limits: Readonly<TenantLimits>;
  readonly features: Readonly<TenantFeatures>;
  readonly security: Readonly<TenantSecurity>;
  readonly budgets: Readonly<TenantBudgets>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Where it is changed: `api`, `file` or `installation`. */
  readonly managedBy: string;
  /** The id of its key, never the key. */
  readonly apiKeyId?: string;
  readonly usage?: TenantUsage;
  readonly createdAt?: string;
  readonly updatedAt?: string;
}

/** A tenant with its key, which is told this once. Printing it masks the key. */
export interface CreatedTenant extends Tenant {
  readonly apiKey: string;
}

export interface RotateOptions extends RequestOptions {
  /** Seconds that the old key still works: 0. */
  readonly gracePeriodSeconds?: number;
}

export interface TenantDeleteOptions extends RequestOptions {
  /** The tenant's data becomes unreadable for good: say that this is wanted. */
  readonly confirm: true;
}

// ---- API keys of a tenant ---------------------------------------------------------------------------------------

export interface ApiKeyCreate {
  /** What it is for. */
  name: string;
  /** `llm`, `tools`, `read`, `keys`; the first three unless told otherwise. */
  scopes?: string[];
  expiresAt?: Date | string;
  rateLimit?: { requestsPerMinute?: number };
}

export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  /** `active`, `revoked` or `expired`. */
  readonly status: string;
  readonly createdAt: string;
  readonly expiresAt?: string;
  readonly lastUsedAt?: string;
}

/** A key's description with the key, which is told this once. Printing it masks the key. */
export interface CreatedApiKey extends ApiKey {
  readonly apiKey: string;
}

// ---- Metrics and usage ------------------------------------------------------------------------------------------

export interface MetricsRange extends RequestOptions {
  /** `YYYY-MM-DD`, UTC, included. */
  readonly startDate?: string;
  /** `YYYY-MM-DD`, UTC, included. */
  readonly endDate?: string;
}

export interface RequestCounts {
  readonly total: number;
  readonly success: number;
  /** Let through, and failed. */
  readonly failed: number;
  /** Refused: over a limit or a budget, or against a rule. */
  readonly denied: number;
}

export interface TokenCounts {
  readonly total: number;
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  /** The part of `output` that was reasoning. */
  readonly reasoning: number;
}

export interface TenantMetrics {
  readonly tenantId: string;
  readonly startDate: string;
  readonly endDate: string;
  readonly requests: RequestCounts;
  readonly tools: { readonly invocations: number };
  readonly servers: { readonly custom: number; readonly hours: number };
  readonly keys: { readonly verifications: number; readonly valid: number; readonly invalid: number };
  readonly tokens: TokenCounts;
  readonly cost: { readonly total: string; readonly currency: string };
  /** Milliseconds; `null` when no request was served. */
  readonly latency: { readonly p50: number; readonly p95: number; readonly p99: number } | null;
  readonly byModel: readonly Readonly<Record<string, unknown>>[];
  readonly byDay: readonly Readonly<Record<string, unknown>>[];
}

export interface UsageMonth extends RequestOptions {
  /** `YYYY-MM`, UTC; the current month unless told otherwise. */
  readonly month?: string;
}

/** A line of an invoice. */
export interface LineItem {
  readonly description: string;
  readonly quantity: number;
  readonly unit: string;
  /** How much of it the plan includes. */
  readonly included: number;
  readonly billable: number;
  /** The price of `priceUnits`; `null` where providers' own prices are passed on. */
  readonly unitPrice: string | null;
  readonly priceUnits: number;
  readonly amount: string;
}

export interface UsageReport {
  readonly tenantId: string;
  readonly month: string;
  readonly currency: string;
  /** Requests that were let through: these are charged for. */
  readonly apiCalls: number;
  readonly deniedCalls: number;
  readonly apiCallsCost: string;
  readonly toolInvocations: number;
  readonly toolInvocationsCost: string;
  readonly customServers: number;
  readonly customServerHours: number;
  readonly customServersCost: string;
  readonly keyVerifications: number;
  readonly keyVerificationsCost: string;
  readonly tokens: TokenCounts;
  readonly llmCost: string;
  readonly totalCost: string;
  readonly lineItems: readonly LineItem[];
}

// ---- OAuth ------------------------------------------------------------------------------------------------------

export interface OAuthCredentials {
  accessToken: string;
  refreshToken?: string;
  expiresAt?: Date | string;
  scopes?: string[];
  /** `Bearer` unless told otherwise. */
  tokenType?: string;
}

/** Credentials as they are told: never the tokens. */
export interface OAuthCredentialsInfo {
  readonly tenantId: string;
  readonly integration: string;
  readonly expiresAt?: string | null;
  readonly nextRefreshAt?: string | null;
  readonly scopes?: readonly string[];
}

export interface OAuthConfig {
  clientId: string;
  clientSecret: string;
  redirectUri: string;
  authEndpoint: string;
  tokenEndpoint: string;
  scopes?: string[];
  additionalParams?: Record<string, string>;
}

export interface OAuthAuthorization {
  readonly authorizationUrl: string;
  readonly state: string;
}

// ---- Audit ------------------------------------------------------------------------------------------------------

export interface AuditFilter extends ListOptions {
  readonly from?: Date | string | undefined;
  readonly to?: Date | string | undefined;
  readonly action?: string | undefined;
  readonly actor?: string | undefined;
  readonly object?: string | undefined;
  readonly result?: string | undefined;
}

export interface AuditEvent {
  readonly id: string;
  readonly timestamp: string;
  readonly tenantId: string;
  readonly action: string;
  readonly result: string;
  readonly object?: string;
  readonly actor?: string;
  readonly role?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly [further: string]: unknown;
}

// ---- Webhooks ---------------------------------------------------------------------------------------------------

export interface WebhookFilter extends ListOptions {
  readonly tenant?: string | undefined;
  /** Such as `billing.period_closed`. */
  readonly kind?: string | undefined;
  /** `pending`, `delivered` or `dead`. */
  readonly state?: string | undefined;
}

export interface DeadLetterFilter extends ListOptions {
  readonly tenant?: string | undefined;
}

export interface WebhookEvent {
  /** Also `webhook-id` of its deliveries. */
  readonly id: string;
  readonly type: string;
  readonly tenantId: string | null;
  readonly timestamp: string;
}

export interface WebhookDelivery {
  readonly endpoint: string;
  readonly state: string;
  readonly attempts: number;
  readonly nextAttemptAt: string | null;
  readonly lastAttemptAt: string | null;
  readonly lastStatus: number | null;
  readonly lastError: string | null;
}

/** An event with its body and what has become of its deliveries. */
export interface WebhookEventDetail extends WebhookEvent {
  readonly payload: Readonly<Record<string, unknown>>;
  readonly deliveries: readonly WebhookDelivery[];
}

/** A delivery that was given up. */
export interface DeadLetter extends WebhookDelivery {
  readonly eventId: string;
  readonly type: string;
  readonly tenantId: string | null;
  readonly timestamp: string;
}

export interface WebhookEndpoint {
  readonly id: string;
  readonly url: string;
  readonly events: readonly string[];
  readonly tenants: readonly string[];
  /** `ok`, `failing` or `gone`. */
  readonly status: string;
  readonly pending: number;
  readonly deadLetters: number;
  readonly [further: string]: unknown;
}

/** What became of a test event. */
export interface WebhookTest {
  readonly eventId: string;
  readonly delivered: boolean;
  readonly status: number | null;
  readonly error: string | null;
  readonly durationMs: number;
}

export interface RedeliverOptions extends RequestOptions {
  /** To this endpoint alone. */
  readonly endpoint?: string | undefined;
}

// ---- Tools ------------------------------------------------------------------------------------------------------

export interface SelectOptions extends RequestOptions {
  readonly maxTools?: number | undefined;
  readonly category?: string | undefined;
  readonly categories?: readonly string[] | undefined;
  readonly tokenBudget?: number | undefined;
  readonly context?: Readonly<Record<string, unknown>> | undefined;
}

export interface ToolFilter extends RequestOptions {
  readonly category?: string | undefined;
  readonly integration?: string | undefined;
  readonly search?: string | undefined;
  readonly page?: number | undefined;
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

export interface Tool {
  readonly id: string;
  readonly toolId: string;
  readonly name: string;
  readonly description: string;
  readonly integration?: string;
  readonly category?: string;
  readonly score?: number;
  readonly tokenCost?: number;
  readonly parameters?: unknown;
  readonly loadUrl?: string;
  readonly [further: string]: unknown;
}

export interface InvokeOptions extends RequestOptions {
  /** Where the tool is; else what stands before the first dot of its id. */
  readonly integration?: string | undefined;
}

export interface ToolResult<T = unknown> {
  readonly success: boolean;
  readonly data?: T;
  readonly error?: { readonly code?: string; readonly message?: string; readonly details?: unknown };
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface Category {
  readonly name: string;
  readonly description?: string;
  readonly toolCount?: number;
}

// ---- Custom servers ---------------------------------------------------------------------------------------------

export type ServerSource =
  | { type: "github"; url: string; ref?: string; branch?: string; [further: string]: unknown }
  | { type: "stdio"; command: string; args?: string[]; env?: Record<string, string>; [further: string]: unknown }
  | { type: "http"; url: string; headers?: Record<string, string>; [further: string]: unknown }
  | { type: "docker"; image: string; tag?: string; [further: string]: unknown };

export interface ServerAdd {
  name: string;
  source: ServerSource;
  category: string;
  description?: string;
  env?: Record<string, string>;
  [further: string]: unknown;
}

export interface ServerInfo {
  readonly name: string;
  readonly category?: string;
  readonly toolCount?: number;
  readonly status?: string;
  readonly [further: string]: unknown;
}

/** A standard `mcpServers` file. */
export interface MCPConfig {
  mcpServers: Record<
    string,
    { url?: string; headers?: Record<string, string>; command?: string; args?: string[]; env?: Record<string, string> }
  >;
}

export interface DeploymentStatus {
  readonly deploymentId: string;
  /** `pending`, `building`, `deploying`, `running`, `failed`, `stopped` or `removing`. */
  readonly status: string;
  readonly progress?: Readonly<Record<string, string>>;
  readonly progressPercent?: number;
  readonly toolsDiscovered?: number;
  readonly endpoint?: string;
  readonly error?: string;
  readonly estimatedTime?: string;
  readonly message?: string;
}

export interface WaitOptions {
  /** Milliseconds to wait in all: 300,000. */
  readonly timeout?: number | undefined;
  /** Milliseconds between the first questions: 2,000. */
  readonly pollInterval?: number | undefined;
  readonly onProgress?: ((status: DeploymentStatus) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}
