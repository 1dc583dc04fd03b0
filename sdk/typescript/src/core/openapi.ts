// Made from docs/openapi.json by `npm run types`: not to be changed by hand.

export type components = {
    schemas: {
        /** @description An event as seed 001 words it (Connectors dossier §10). What more is known stands in `params`. */
        readonly AuditEvent: {
            readonly id: string;
            readonly timestamp: string;
            readonly tenantId: string;
            /** @description Whom the sender says that it acts for. */
            readonly userId?: string;
            readonly action: string;
            readonly object: string;
            /** @description The tool that was called. */
            readonly toolId?: string;
            readonly result: string;
            /**
             * Format: uint64
             * @description Milliseconds from the request's head to the decision.
             */
            readonly duration?: number;
            readonly actor: string;
            readonly role: string;
            readonly ip?: string;
            readonly userAgent?: string;
            readonly requestId?: string;
            readonly beforeDigest?: string;
            readonly afterDigest?: string;
            /** @description What was asked for, without secrets, and what else is known. */
            readonly params: {
                readonly [key: string]: unknown;
            };
        };
        /** @description Money. */
        readonly CostTotal: {
            /** @description What providers charge, in `currency`. */
            readonly total: components["schemas"]["Money"];
            /** @description ISO 4217 code. */
            readonly currency: string;
        };
        /** @description A new tenant, with what is told once. */
        readonly CreatedTenant: {
            /** @description Slug. */
            readonly id: string;
            /** @description Network id. */
            readonly nid: string;
            /** @description Name for people. */
            readonly name: string;
            /** @description Whom to write to. */
            readonly email?: string;
            /** @description Its preset. */
            readonly plan?: string;
            /** @description `active` or `suspended`. */
            readonly status: string;
            /** @description Host names that were given to it here; a file's are in the file. */
            readonly hostnames?: readonly string[];
            /** @description Numbers in force. */
            readonly limits: components["schemas"]["TenantLimits"];
            /** @description Functions in force. */
            readonly features: components["schemas"]["TenantFeatures"];
            /** @description From where it may call. */
            readonly security: components["schemas"]["TenantSecurity"];
            /** @description Money in force. */
            readonly budgets: components["schemas"]["TenantBudgets"];
            /** @description What its operator wants to remember. */
            readonly metadata?: {
                readonly [key: string]: unknown;
            };
            /** @description Where it is changed: `api`, or `file`. */
            readonly managedBy: string;
            /** @description The id of its key; never the key. */
            readonly apiKeyId?: string;
            /** @description When it was made, RFC 3339. */
            readonly createdAt?: string;
            /** @description When it was last changed. */
            readonly updatedAt?: string;
            /** @description Its key, told this once. */
            readonly apiKey: string;
        };
        /** @description One day's part. */
        readonly DayUsage: {
            /** @description The day, in UTC. */
            readonly date: string;
            /** @description Requests. */
            readonly requests: components["schemas"]["RequestCounts"];
            /** @description Tools. */
            readonly tools: components["schemas"]["ToolCounts"];
            /** @description Keys that were verified. */
            readonly keys: components["schemas"]["KeyCounts"];
            /** @description Tokens. */
            readonly tokens: components["schemas"]["TokenCounts"];
            /** @description What providers charge. */
            readonly cost: components["schemas"]["Money"];
        };
        /** @description A delivery that was given up. */
        readonly DeadLetter: {
            /** @description The event. */
            readonly eventId: string;
            /** @description Its kind. */
            readonly type: string;
            /** @description The tenant. */
            readonly tenantId: string | null;
            /** @description When it happened. */
            readonly timestamp: string;
            /** @description To which endpoint. */
            readonly endpoint: string;
            /** @description `pending`, `delivered` or `dead`. */
            readonly state: string;
            /**
             * Format: uint32
             * @description Attempts since it was last asked for.
             */
            readonly attempts: number;
            /** @description When it is tried again. */
            readonly nextAttemptAt: string | null;
            /** @description When the last attempt ended. */
            readonly lastAttemptAt: string | null;
            /**
             * Format: uint16
             * @description What the endpoint answered then.
             */
            readonly lastStatus: number | null;
            /** @description Why that attempt failed. */
            readonly lastError: string | null;
        };
        readonly Health: {
            /** @description `ok` while the process answers. */
            readonly status: string;
            /** @constant */
            readonly service: "bulkhead";
            readonly uptime_seconds: number;
        };
        /** @description Keys that were verified. */
        readonly KeyCounts: {
            /**
             * Format: uint64
             * @description How often.
             */
            readonly verifications: number;
            /**
             * Format: uint64
             * @description How often they were good.
             */
            readonly valid: number;
            /**
             * Format: uint64
             * @description How often they were not.
             */
            readonly invalid: number;
        };
        /** @description A line of an invoice. */
        readonly LineItem: {
            /** @description For people. */
            readonly description: string;
            /**
             * Format: uint64
             * @description How much was used.
             */
            readonly quantity: number;
            /** @description Of what. */
            readonly unit: string;
            /**
             * Format: uint64
             * @description How much of it the plan includes.
             */
            readonly included: number;
            /**
             * Format: uint64
             * @description How much of it is charged for.
             */
            readonly billable: number;
            /** @description The price of `price_units`; `null` where providers' own prices are passed on. */
            readonly unitPrice: components["schemas"]["Money"] | null;
            /**
             * Format: uint32
             * @description How many units `unit_price` is for.
             */
            readonly priceUnits: number;
            /** @description What it comes to. */
            readonly amount: components["schemas"]["Money"];
        };
        /** @description One model's part. */
        readonly ModelUsage: {
            /** @description Provider; empty for requests that reached none. */
            readonly provider: string;
            /** @description Model; empty for requests that reached none. */
            readonly model: string;
            /** @description Requests. */
            readonly requests: components["schemas"]["RequestCounts"];
            /** @description Tokens. */
            readonly tokens: components["schemas"]["TokenCounts"];
            /** @description What the provider charges. */
            readonly cost: components["schemas"]["Money"];
        };
        /**
         * @description An amount of money, exactly, as a decimal text.
         * @example 12.5
         */
        readonly Money: string;
        /** @description Milliseconds within which so many per cent of the requests were served to their end. */
        readonly Percentiles: {
            /**
             * Format: uint64
             * @description Half of them.
             */
            readonly p50: number;
            /**
             * Format: uint64
             * @description 95 %.
             */
            readonly p95: number;
            /**
             * Format: uint64
             * @description 99 %.
             */
            readonly p99: number;
        };
        readonly Readiness: {
            /** @description `ready`, `not_ready` or `stopping`. */
            readonly status: string;
            /** @description Each part and how it is doing. */
            readonly checks?: {
                readonly [key: string]: string;
            };
            readonly degraded_tenants?: readonly (readonly string[])[];
            readonly degraded_tenants_count?: number;
            readonly config_generation?: number;
            readonly config_error?: string;
        };
        /** @description Requests, each on record once. */
        readonly RequestCounts: {
            /**
             * Format: uint64
             * @description All of them.
             */
            readonly total: number;
            /**
             * Format: uint64
             * @description Served.
             */
            readonly success: number;
            /**
             * Format: uint64
             * @description Let through, and failed.
             */
            readonly failed: number;
            /**
             * Format: uint64
             * @description Refused: over a limit or a budget, or against a rule.
             */
            readonly denied: number;
        };
        /** @description What is left of a key. */
        readonly RevokedTenantApiKey: {
            readonly id: string;
            /** @description `revoked`. */
            readonly status: string;
        };
        /** @description The key in place of the old one. */
        readonly RotatedTenantKey: {
            /** @description The key, told this once. */
            readonly apiKey: string;
            readonly apiKeyId: string;
            /** @description Until when the old key works; absent when it died at once. */
            readonly previousKeyExpiresAt?: string;
        };
        /** @description Custom servers. */
        readonly ServerCounts: {
            /**
             * Format: uint64
             * @description How many ran.
             */
            readonly custom: number;
            /**
             * Format: uint64
             * @description For how many hours together, each begun one included.
             */
            readonly hours: number;
        };
        /** @description A tenant as it is told: what holds for it in the end, wherever it comes from. Never a key. */
        readonly Tenant: {
            /** @description Slug. */
            readonly id: string;
            /** @description Network id. */
            readonly nid: string;
            /** @description Name for people. */
            readonly name: string;
            /** @description Whom to write to. */
            readonly email?: string;
            /** @description Its preset. */
            readonly plan?: string;
            /** @description `active` or `suspended`. */
            readonly status: string;
            /** @description Host names that were given to it here; a file's are in the file. */
            readonly hostnames?: readonly string[];
            /** @description Numbers in force. */
            readonly limits: components["schemas"]["TenantLimits"];
            /** @description Functions in force. */
            readonly features: components["schemas"]["TenantFeatures"];
            /** @description From where it may call. */
            readonly security: components["schemas"]["TenantSecurity"];
            /** @description Money in force. */
            readonly budgets: components["schemas"]["TenantBudgets"];
            /** @description What its operator wants to remember. */
            readonly metadata?: {
                readonly [key: string]: unknown;
            };
            /** @description Where it is changed: `api`, or `file`. */
            readonly managedBy: string;
            /** @description The id of its key; never the key. */
            readonly apiKeyId?: string;
            /** @description When it was made, RFC 3339. */
            readonly createdAt?: string;
            /** @description When it was last changed. */
            readonly updatedAt?: string;
        };
        /** @description A key, never with its text. */
        readonly TenantApiKey: {
            readonly id: string;
            readonly name: string;
            readonly scopes: readonly string[];
            readonly status: string;
            readonly createdAt: string;
            readonly expiresAt?: string;
            readonly lastUsedAt?: string;
            /** @description Its text, told once. */
            readonly apiKey?: string;
        };
        /** @description What a tenant may spend: decimal texts, or `None` for as much as there is. */
        readonly TenantBudgets: {
            /** @description In a day. */
            readonly daily?: components["schemas"]["Money"];
            /** @description In a month. */
            readonly monthly?: components["schemas"]["Money"];
            /** @description In a session. */
            readonly session?: components["schemas"]["Money"];
        };
        /** @description Functions that can be switched off. */
        readonly TenantFeatures: {
            /** @description Servers of its own. */
            readonly customServers?: boolean;
            /** @description Connections to its users' accounts elsewhere. */
            readonly oauth?: boolean;
            /** @description Metrics beyond totals. */
            readonly advancedAnalytics?: boolean;
        };
        /** @description Requests and quotas, under the seed's names. */
        readonly TenantLimits: {
            /**
             * Format: uint64
             * @description Requests per minute of all its callers together.
             */
            readonly requestsPerMinute?: number;
            /**
             * Format: uint64
             * @description Requests per hour.
             */
            readonly requestsPerHour?: number;
            /**
             * Format: uint64
             * @description Requests per day.
             */
            readonly requestsPerDay?: number;
            /**
             * Format: uint64
             * @description Custom servers at the same time.
             */
            readonly maxCustomServers?: number;
            /**
             * Format: uint64
             * @description Tool invocations in a calendar month, UTC.
             */
            readonly maxToolInvocations?: number;
            /**
             * Format: uint64
             * @description Stored MB of its custom servers.
             */
            readonly maxStorageMB?: number;
            /**
             * Format: uint64
             * @description Live API keys.
             */
            readonly maxApiKeys?: number;
        };
        /** @description What a tenant used. */
        readonly TenantMetrics: {
            /** @description Tenant. */
            readonly tenantId: string;
            /** @description First day, in UTC. */
            readonly startDate: string;
            /** @description Last day, included. */
            readonly endDate: string;
            /**
             * @description The day from which on usage is kept, where that is after `startDate`: what was used before it is in none of these
             *     numbers. `null` when they are whole.
             */
            readonly keptFrom: string | null;
            /** @description Requests. */
            readonly requests: components["schemas"]["RequestCounts"];
            /** @description Tools. */
            readonly tools: components["schemas"]["ToolCounts"];
            /** @description Custom servers. */
            readonly servers: components["schemas"]["ServerCounts"];
            /** @description Keys that were verified. */
            readonly keys: components["schemas"]["KeyCounts"];
            /** @description Tokens. */
            readonly tokens: components["schemas"]["TokenCounts"];
            /** @description What providers charge. */
            readonly cost: components["schemas"]["CostTotal"];
            /** @description How long requests took, in milliseconds; `null` when none was served. */
            readonly latency: components["schemas"]["Percentiles"] | null;
            /** @description By model, the dearest first. Together they are `requests`, `tokens` and `cost` of the LLM doors. */
            readonly byModel: readonly components["schemas"]["ModelUsage"][];
            /** @description By day. Days without use are left out. */
            readonly byDay: readonly components["schemas"]["DayUsage"][];
        };
        /** @description Addresses and ranges. */
        readonly TenantSecurity: {
            /** @description None = from anywhere. */
            readonly allowedIPs: readonly string[];
        };
        /** @description A tenant, with what it has used this month. */
        readonly TenantWithUsage: {
            /** @description Slug. */
            readonly id: string;
            /** @description Network id. */
            readonly nid: string;
            /** @description Name for people. */
            readonly name: string;
            /** @description Whom to write to. */
            readonly email?: string;
            /** @description Its preset. */
            readonly plan?: string;
            /** @description `active` or `suspended`. */
            readonly status: string;
            /** @description Host names that were given to it here; a file's are in the file. */
            readonly hostnames?: readonly string[];
            /** @description Numbers in force. */
            readonly limits: components["schemas"]["TenantLimits"];
            /** @description Functions in force. */
            readonly features: components["schemas"]["TenantFeatures"];
            /** @description From where it may call. */
            readonly security: components["schemas"]["TenantSecurity"];
            /** @description Money in force. */
            readonly budgets: components["schemas"]["TenantBudgets"];
            /** @description What its operator wants to remember. */
            readonly metadata?: {
                readonly [key: string]: unknown;
            };
            /** @description Where it is changed: `api`, or `file`. */
            readonly managedBy: string;
            /** @description The id of its key; never the key. */
            readonly apiKeyId?: string;
            /** @description When it was made, RFC 3339. */
            readonly createdAt?: string;
            /** @description When it was last changed. */
            readonly updatedAt?: string;
            /** @description `null` where not even this month's usage is kept from its first day on. */
            readonly usage: components["schemas"]["UsageReport"] | null;
        };
        /** @description Tokens by kind. */
        readonly TokenCounts: {
            /**
             * Format: uint64
             * @description All of them.
             */
            readonly total: number;
            /**
             * Format: uint64
             * @description Input, neither read from nor written to a cache.
             */
            readonly input: number;
            /**
             * Format: uint64
             * @description Output, reasoning included.
             */
            readonly output: number;
            /**
             * Format: uint64
             * @description Input read from a provider's cache.
             */
            readonly cacheRead: number;
            /**
             * Format: uint64
             * @description Input written to a provider's cache.
             */
            readonly cacheWrite: number;
            /**
             * Format: uint64
             * @description The part of `output` that was reasoning.
             */
            readonly reasoning: number;
        };
        /** @description Tools. */
        readonly ToolCounts: {
            /**
             * Format: uint64
             * @description Tools that were invoked.
             */
            readonly invocations: number;
        };
        /** @description A month's use and its costs, at the prices in force. `total_cost` is the sum of the items. */
        readonly UsageReport: {
            /** @description Tenant. */
            readonly tenantId: string;
            /** @description The month, in UTC. */
            readonly month: string;
            /**
             * Format: uint64
             * @description Requests that were let through: these are charged for.
             */
            readonly apiCalls: number;
            /**
             * Format: uint64
             * @description Requests that were denied: these are not.
             */
            readonly deniedCalls: number;
            /** @description What API calls cost. */
            readonly apiCallsCost: components["schemas"]["Money"];
            /**
             * Format: uint64
             * @description Tools that were invoked.
             */
            readonly toolInvocations: number;
            /** @description What they cost. */
            readonly toolInvocationsCost: components["schemas"]["Money"];
            /**
             * Format: uint64
             * @description Custom servers that ran.
             */
            readonly customServers: number;
            /**
             * Format: uint64
             * @description For how many hours together, each begun one included.
             */
            readonly customServerHours: number;
            /** @description What these hours cost. */
            readonly customServersCost: components["schemas"]["Money"];
            /**
             * Format: uint64
             * @description Keys that were verified.
             */
            readonly keyVerifications: number;
            /** @description What that costs. */
            readonly keyVerificationsCost: components["schemas"]["Money"];
            /** @description Tokens. */
            readonly tokens: components["schemas"]["TokenCounts"];
            /** @description What providers charge for them. */
            readonly llmCost: components["schemas"]["Money"];
            /** @description Everything together. */
            readonly totalCost: components["schemas"]["Money"];
            /** @description ISO 4217 code. */
            readonly currency: string;
            /** @description What the total is the sum of. */
            readonly lineItems: readonly components["schemas"]["LineItem"][];
        };
        /** @description A delivery. */
        readonly WebhookDelivery: {
            /** @description To which endpoint. */
            readonly endpoint: string;
            /** @description `pending`, `delivered` or `dead`. */
            readonly state: string;
            /**
             * Format: uint32
             * @description Attempts since it was last asked for.
             */
            readonly attempts: number;
            /** @description When it is tried again. */
            readonly nextAttemptAt: string | null;
            /** @description When the last attempt ended. */
            readonly lastAttemptAt: string | null;
            /**
             * Format: uint16
             * @description What the endpoint answered then.
             */
            readonly lastStatus: number | null;
            /** @description Why that attempt failed. */
            readonly lastError: string | null;
        };
        /** @description An endpoint and how it is doing. */
        readonly WebhookEndpoint: {
            /** @description Its id. */
            readonly id: string;
            /** @description Where it is, without the query. */
            readonly url: string;
            /** @description Which events it wants. */
            readonly events: readonly string[];
            /** @description Whose; empty for everybody's. */
            readonly tenants: readonly string[];
            /** @description Whether it may be on a private network. */
            readonly allowPrivateNetwork: boolean;
            /**
             * Format: uint
             * @description How many secrets its deliveries are signed with.
             */
            readonly secrets: number;
            /** @description `ok`, `failing`, or `gone` after a 410, until the configuration is loaded anew. */
            readonly status: string;
            /**
             * Format: uint64
             * @description Deliveries on their way, up to ten thousand.
             */
            readonly pending: number;
            /**
             * Format: uint64
             * @description Dead letters, up to ten thousand.
             */
            readonly deadLetters: number;
            /** @description When it last took something from this process. */
            readonly lastDeliveredAt: string | null;
            /** @description When it last failed to. */
            readonly lastFailedAt: string | null;
            /** @description Why. */
            readonly lastError: string | null;
            /**
             * Format: uint64
             * @description Failures since it last took something.
             */
            readonly consecutiveFailures: number;
        };
        /** @description An event in a list. */
        readonly WebhookEvent: {
            /** @description Its id; `webhook-id` of its deliveries. */
            readonly id: string;
            /** @description Its kind. */
            readonly type: string;
            /** @description The tenant; none for the installation's own, and for one that is gone. */
            readonly tenantId: string | null;
            /** @description When it happened. */
            readonly timestamp: string;
        };
        /** @description An event with all that is known of it. */
        readonly WebhookEventDetail: {
            /** @description Its id; `webhook-id` of its deliveries. */
            readonly id: string;
            /** @description Its kind. */
            readonly type: string;
            /** @description The tenant; none for the installation's own, and for one that is gone. */
            readonly tenantId: string | null;
            /** @description When it happened. */
            readonly timestamp: string;
            /** @description The body of its deliveries. */
            readonly payload: {
                readonly [key: string]: unknown;
            };
            /** @description What has become of them. */
            readonly deliveries: readonly components["schemas"]["WebhookDelivery"][];
        };
        /** @description What a try of an endpoint came to. */
        readonly WebhookTest: {
            /** @description The id that was sent. */
            readonly eventId: string;
            /** @description Whether the endpoint took it. */
            readonly delivered: boolean;
            /**
             * Format: uint16
             * @description What it answered.
             */
            readonly status: number | null;
            /** @description Why it did not take it. */
            readonly error: string | null;
            /**
             * Format: uint64
             * @description How long it took, in milliseconds.
             */
            readonly durationMs: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
};
