"""The wire's types, by hand, in the order of the API's description.

Every field may be missing in an answer of an older or newer gateway: it is then None, 0 or empty. ``raw`` is the whole
answer, with what this release does not know. Costs are decimal strings: money is never a floating-point number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Wire:
    """What every answer has."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


# ---- Health ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Health(Wire):
    #: ``ok`` while the process answers.
    status: str = ""
    service: str | None = None
    uptime_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Readiness(Wire):
    #: ``ready`` or ``not_ready``.
    status: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)


# ---- Tenants ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TenantLimits(Wire):
    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    max_custom_servers: int | None = None
    max_tool_invocations: int | None = None
    max_storage_mb: int | None = None
    max_api_keys: int | None = None


@dataclass(frozen=True, kw_only=True)
class TenantFeatures(Wire):
    custom_servers: bool | None = None
    oauth: bool | None = None
    advanced_analytics: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TenantSecurity(Wire):
    #: Addresses and CIDR ranges; an empty list is open.
    allowed_ips: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TenantBudgets(Wire):
    """Money that a tenant may spend."""

    daily: str | None = None
    monthly: str | None = None
    session: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tenant(Wire):
    id: str = ""
    #: Its network id, the same for ever.
    nid: str = ""
    name: str = ""
    email: str | None = None
    plan: str | None = None
    #: ``active`` or ``suspended``.
    status: str = ""
    #: Host names that were given to it at run time; a file's are in the file.
    hostnames: list[str] = field(default_factory=list)
    #: Numbers in force; one that is None has no limit.
    limits: TenantLimits = field(default_factory=TenantLimits)
    features: TenantFeatures = field(default_factory=TenantFeatures)
    security: TenantSecurity = field(default_factory=TenantSecurity)
    budgets: TenantBudgets = field(default_factory=TenantBudgets)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Where it is changed: ``api``, ``file`` or ``installation``.
    managed_by: str = ""
    #: The id of its key, never the key.
    api_key_id: str | None = None
    #: What it used this month; None in lists.
    usage: UsageReport | None = None
    created_at: str | None = None
    updated_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class CreatedTenant(Tenant):
    """A tenant with its key, which is told this once. Printing it leaves the key out."""

    api_key: str = field(default="", repr=False)


# ---- API keys of a tenant --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ApiKey(Wire):
    id: str = ""
    name: str = ""
    scopes: list[str] = field(default_factory=list)
    #: ``active``, ``revoked`` or ``expired``.
    status: str = ""
    created_at: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class CreatedApiKey(ApiKey):
    """A key's description with the key, which is told this once. Printing it leaves the key out."""

    api_key: str = field(default="", repr=False)


# ---- Metrics and usage -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RequestCounts(Wire):
    total: int = 0
    success: int = 0
    #: Let through, and failed.
    failed: int = 0
    #: Refused: over a limit or a budget, or against a rule.
    denied: int = 0


@dataclass(frozen=True, kw_only=True)
class ToolCounts(Wire):
    invocations: int = 0


@dataclass(frozen=True, kw_only=True)
class ServerCounts(Wire):
    custom: int = 0
    hours: int = 0


@dataclass(frozen=True, kw_only=True)
class KeyCounts(Wire):
    verifications: int = 0
    valid: int = 0
    invalid: int = 0


@dataclass(frozen=True, kw_only=True)
class TokenCounts(Wire):
    total: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    #: The part of ``output`` that was reasoning.
    reasoning: int = 0


@dataclass(frozen=True, kw_only=True)
class Cost(Wire):
    total: str = "0"
    currency: str | None = None


@dataclass(frozen=True, kw_only=True)
class Latency(Wire):
    """Milliseconds."""

    p50: int = 0
    p95: int = 0
    p99: int = 0


@dataclass(frozen=True, kw_only=True)
class TenantMetrics(Wire):
    tenant_id: str = ""
    start_date: str = ""
    end_date: str = ""
    #: The day from which on usage is kept, where that is after ``start_date``; None when the numbers are whole.
    kept_from: str | None = None
    requests: RequestCounts = field(default_factory=RequestCounts)
    tools: ToolCounts = field(default_factory=ToolCounts)
    servers: ServerCounts = field(default_factory=ServerCounts)
    keys: KeyCounts = field(default_factory=KeyCounts)
    tokens: TokenCounts = field(default_factory=TokenCounts)
    cost: Cost = field(default_factory=Cost)
    #: None when no request was served.
    latency: Latency | None = None
    by_model: list[Mapping[str, Any]] = field(default_factory=list)
    by_day: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LineItem(Wire):
    """A line of an invoice."""

    description: str = ""
    quantity: int = 0
    unit: str = ""
    #: How much of it the plan includes.
    included: int = 0
    billable: int = 0
    #: The price of ``price_units``; None where providers' own prices are passed on.
    unit_price: str | None = None
    price_units: int = 1
    amount: str = "0"


@dataclass(frozen=True, kw_only=True)
class UsageReport(Wire):
    tenant_id: str = ""
    month: str | None = None
    currency: str | None = None
    #: Requests that were let through: these are charged for.
    api_calls: int = 0
    denied_calls: int = 0
    api_calls_cost: str = "0"
    tool_invocations: int = 0
    tool_invocations_cost: str = "0"
    custom_servers: int = 0
    custom_server_hours: int = 0
    custom_servers_cost: str = "0"
    key_verifications: int = 0
    key_verifications_cost: str = "0"
    tokens: TokenCounts = field(default_factory=TokenCounts)
    llm_cost: str = "0"
    total_cost: str = "0"
    line_items: list[LineItem] = field(default_factory=list)


#: What a tenant used this month.
TenantUsage = UsageReport


# ---- OAuth -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OAuthCredentialsInfo(Wire):
    """Credentials as they are told: never the tokens."""

    tenant_id: str = ""
    integration: str = ""
    expires_at: str | None = None
    next_refresh_at: str | None = None
    scopes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class OAuthAuthorization(Wire):
    authorization_url: str = ""
    state: str = ""


# ---- Audit -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AuditEvent(Wire):
    id: str = ""
    timestamp: str = ""
    tenant_id: str = ""
    #: Whom the sender said that it acts for.
    user_id: str | None = None
    #: Such as ``tenant.updated``, or ``request.denied``.
    action: str = ""
    #: ``success``, ``denied`` or ``failed``.
    result: str = ""
    #: Milliseconds until it was decided.
    duration: int | None = None
    object: str | None = None
    actor: str | None = None
    role: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    #: SHA-256 of what was there before.
    before_digest: str | None = None
    #: SHA-256 of what is there now.
    after_digest: str | None = None
    #: What was asked for, without secrets.
    params: Mapping[str, Any] = field(default_factory=dict)


# ---- Webhooks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class WebhookEvent(Wire):
    #: Also ``webhook-id`` of its deliveries.
    id: str = ""
    type: str = ""
    tenant_id: str | None = None
    timestamp: str = ""


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery(Wire):
    endpoint: str = ""
    #: ``pending``, ``delivered`` or ``dead``.
    state: str = ""
    attempts: int = 0
    next_attempt_at: str | None = None
    last_attempt_at: str | None = None
    last_status: int | None = None
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class WebhookEventDetail(WebhookEvent):
    """An event with its body and what has become of its deliveries."""

    payload: Mapping[str, Any] = field(default_factory=dict)
    deliveries: list[WebhookDelivery] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class DeadLetter(WebhookDelivery):
    """A delivery that was given up."""

    event_id: str = ""
    type: str = ""
    tenant_id: str | None = None
    timestamp: str = ""


@dataclass(frozen=True, kw_only=True)
class WebhookEndpoint(Wire):
    id: str = ""
    url: str = ""
    events: list[str] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)
    #: ``ok``, ``failing`` or ``gone``.
    status: str = ""
    pending: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, kw_only=True)
class WebhookTest(Wire):
    """What became of a test event."""

    event_id: str = ""
    delivered: bool = False
    status: int | None = None
    error: str | None = None
    duration_ms: int = 0


# ---- Tools -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tool(Wire):
    id: str = ""
    tool_id: str = ""
    name: str = ""
    description: str = ""
    integration: str | None = None
    category: str | None = None
    score: float | None = None
    token_cost: int | None = None
    parameters: Any = None
    load_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class ToolResult(Wire):
    success: bool = False
    data: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Category(Wire):
    name: str = ""
    description: str | None = None
    tool_count: int | None = None


# ---- Custom servers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ServerInfo(Wire):
    name: str = ""
    category: str | None = None
    tool_count: int | None = None
    status: str | None = None


@dataclass(frozen=True, kw_only=True)
class DeploymentStatus(Wire):
    deployment_id: str = ""
    #: ``pending``, ``building``, ``deploying``, ``running``, ``failed``, ``stopped`` or ``removing``.
    status: str = ""
    progress: Mapping[str, str] = field(default_factory=dict)
    progress_percent: int | None = None
    tools_discovered: int | None = None
    endpoint: str | None = None
    error: str | None = None
    estimated_time: str | None = None
    message: str | None = None
