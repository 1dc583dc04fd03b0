/**
 * The wire's types under the names of this package. What is answered is as the API's description has it (`openapi.ts`, made from it);
 * what is asked for, and what a gateway answers 501 today, is by hand.
 *
 * Costs are decimal strings: money is never a floating-point number.
 */

import type { components } from "./openapi.js";

type Schemas = components["schemas"];

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

export type Health = Schemas["Health"];

export type Readiness = Schemas["Readiness"];

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
  /** Host names that lead to it, where these tell tenants apart: whole names, each one tenant's. */
  hostnames?: string[];
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
  hostnames?: string[] | null;
  limits?: { [L in keyof TenantLimits]?: TenantLimits[L] | null };
  features?: { [F in keyof TenantFeatures]?: TenantFeatures[F] | null };
  security?: TenantSecurity;
  budgets?: TenantBudgets;
  metadata?: Record<string, unknown>;
  [further: string]: unknown;
}

/** What a tenant used this month. */
export type TenantUsage = Schemas["UsageReport"];

/** A tenant: what holds in the end, wherever it comes from. Asked for alone, it tells what was used this month. */
export type Tenant = Schemas["Tenant"] & { readonly usage?: TenantUsage | null };

/** A tenant with its key, which is told this once. Printing it masks the key. */
export type CreatedTenant = Schemas["CreatedTenant"];

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

/** A key without its text. */
export type ApiKey = Omit<Schemas["TenantApiKey"], "apiKey">;

/** A key's description with the key, which is told this once. Printing it masks the key. */
export type CreatedApiKey = ApiKey & { readonly apiKey: string };

// ---- Metrics and usage ------------------------------------------------------------------------------------------

export interface MetricsRange extends RequestOptions {
  /** `YYYY-MM-DD`, UTC, included. */
  readonly startDate?: string;
  /** `YYYY-MM-DD`, UTC, included. */
  readonly endDate?: string;
}

export type RequestCounts = Schemas["RequestCounts"];

export type TokenCounts = Schemas["TokenCounts"];

export type TenantMetrics = Schemas["TenantMetrics"];

export interface UsageMonth extends RequestOptions {
  /** `YYYY-MM`, UTC; the current month unless told otherwise. */
  readonly month?: string;
}

/** A line of an invoice. */
export type LineItem = Schemas["LineItem"];

export type UsageReport = Schemas["UsageReport"];

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

export type AuditEvent = Schemas["AuditEvent"];

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

export type WebhookEvent = Schemas["WebhookEvent"];

export type WebhookDelivery = Schemas["WebhookDelivery"];

/** An event with its body and what has become of its deliveries. */
export type WebhookEventDetail = Schemas["WebhookEventDetail"];

/** A delivery that was given up. */
export type DeadLetter = Schemas["DeadLetter"];

export type WebhookEndpoint = Schemas["WebhookEndpoint"];

/** What became of a test event. */
export type WebhookTest = Schemas["WebhookTest"];

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
